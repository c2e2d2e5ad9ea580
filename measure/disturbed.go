package measure

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/internal/median"
)

// Bounds of what a quiet machine's times do.
const (
	maxSpread = 0.2 // of repetitions, as a share of their median
	maxLoad   = 0.5 // processes that wait for a processor
)

// Disturbed says why the times of a comparison cannot be trusted, "" if nothing speaks against
// them.
func (c *Comparison) Disturbed() string {
	var why []string
	if c.Load > maxLoad {
		why = append(why, fmt.Sprintf("load average %.1f above the number of processors", c.Load))
	}
	if c.Spread > maxSpread {
		why = append(why, fmt.Sprintf("repetitions %.0f %% apart", 100*c.Spread))
	}
	return strings.Join(why, "; ")
}

// spread is how far times are apart, as a share of their median.
func spread(times []float64) float64 {
	if len(times) == 0 || slices.Min(times) <= 0 {
		return 0
	}
	return (slices.Max(times) - slices.Min(times)) / median.Of(times)
}

// overload returns by how much the load average of the last minute exceeds the number of
// processors: 0 if it does not, or where the system does not tell.
func overload() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	return overloadOf(string(b), runtime.NumCPU())
}

// overloadOf is overload by the text of /proc/loadavg.
func overloadOf(text string, processors int) float64 {
	first, _, _ := strings.Cut(text, " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return max(0, load-float64(processors))
}
