package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// strideSpacing is the spacing of the DDIM paper.
const strideSpacing = "ddim"

// Space chooses which of n timesteps a sampler visits and returns them in rising order. The
// specification is one of
//
//	"250"       250 timesteps spread evenly from the first to the last (one alone is timestep 0)
//	"ddim50"    every k-th timestep from 0, for the one whole k that gives exactly 50, as in the DDIM paper
//	"10,15,20"  n split into as many equal sections as there are counts, each spread evenly by its own count
//
// with the meaning that they have in the public code of guided diffusion and DiT. A count of 0, which
// would leave the noise of a section as it is, is an error.
func Space(n int, spec string) ([]int, error) {
	if stride, ok := strings.CutPrefix(spec, strideSpacing); ok {
		return spaceByStride(n, spec, stride)
	}
	fields := strings.Split(spec, ",")
	if len(fields) > n {
		return nil, fmt.Errorf("steps %q: %d sections of %d timesteps", abbreviate(spec), len(fields), n)
	}
	steps := make([]int, 0, n)
	start := 0
	for i, field := range fields {
		count, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || count < 0 {
			return nil, fmt.Errorf("steps %q: want a number such as 250, a list such as 10,15,20, a stride such as ddim50, or a spacing with a number such as karras20", abbreviate(spec))
		}
		size := n / len(fields)
		if i < n%len(fields) {
			size++
		}
		switch {
		case count == 0 && len(fields) > 1:
			return nil, fmt.Errorf("steps %q: section %d has none, want 1 or more in each", abbreviate(spec), i+1)
		case count > size && len(fields) == 1:
			return nil, fmt.Errorf("steps %q: want 1 to %d", spec, n)
		case count > size:
			return nil, fmt.Errorf("steps %q: section %d has %d timesteps, too few for %d steps", abbreviate(spec), i+1, size, count)
		}
		stride := 1.0
		if count > 1 {
			stride = float64(size-1) / float64(count-1)
		}
		at := 0.0
		for range count {
			steps = append(steps, start+int(math.RoundToEven(at)))
			at += stride
		}
		start += size
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("steps %q: want 1 to %d", abbreviate(spec), n)
	}
	return slices.Compact(steps), nil
}

func spaceByStride(n int, spec, field string) ([]int, error) {
	count, err := strconv.Atoi(field)
	if err != nil || count < 1 || count > n {
		return nil, fmt.Errorf("steps %q: want ddim followed by 1 to %d", abbreviate(spec), n)
	}
	for stride := 1; stride < n; stride++ {
		if (n+stride-1)/stride != count {
			continue
		}
		steps := make([]int, count)
		for i := range steps {
			steps[i] = i * stride
		}
		return steps, nil
	}
	return nil, fmt.Errorf("steps %q: no whole stride through %d timesteps gives exactly %d steps (%d spreads them evenly)", spec, n, count, count)
}

// abbreviate shortens a user's text for an error message.
func abbreviate(s string) string {
	const longest = 40
	if len(s) > longest {
		return s[:longest] + "..."
	}
	return s
}
