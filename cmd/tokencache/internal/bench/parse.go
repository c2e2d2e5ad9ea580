package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/internal/kernel"
)

// ParseLevels returns the CPU levels with the given names, or without names the one in use.
func ParseLevels(names []string) ([]kernel.Level, error) {
	if len(names) == 0 {
		return []kernel.Level{kernel.Active().Level}, nil
	}
	var levels []kernel.Level
	for _, name := range names {
		level, err := kernel.ParseLevel(name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(kernel.Impls(),
			func(im *kernel.Impl) bool { return im.Level == level && im.Supported() }) {
			return nil, fmt.Errorf("CPU level %s: this machine or build does not have it", name)
		}
		levels = append(levels, level)
	}
	return levels, nil
}

// ParsePercents reads shares of the tokens such as "100%,50%".
func ParsePercents(text string) ([]float64, error) {
	var list []float64
	for _, s := range strings.Split(text, ",") {
		percent, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
		if err != nil || !(percent > 0 && percent <= 100) {
			return nil, fmt.Errorf("%s: want shares such as 100%%, 50%%", text)
		}
		list = append(list, percent)
	}
	return list, nil
}
