// Package busy tells whether other programs may have disturbed a measurement of time.
package busy

import (
	"fmt"
	"os"
	"runtime"
	"slices"
)

// Load returns how many processes wanted to run on average over the last minute, or 0 where the
// system does not say.
func Load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	return parseLoad(string(text))
}

func parseLoad(text string) float64 {
	var load float64
	if _, err := fmt.Sscan(text, &load); err != nil || !(load >= 0) {
		return 0
	}
	return load
}

// Signs that a measurement was disturbed.
const (
	maxLoad   = 0.5  // of the processors, before it began
	maxSpread = 1.25 // of the longest run, times the shortest
	maxExcess = 1.02 // of the speed-up, times what the work saved allows
)

// Timing is a measurement of time.
type Timing struct {
	Load    float64     // before it began
	Runs    [][]float64 // seconds of repetitions of the same work, for each kind of work
	Speedup float64     // of one kind of work over the other; 0: not measured
	Ratio   float64     // of their FLOPs
}

// Signs lists what says that the measurement was disturbed.
func (t Timing) Signs() []string {
	var signs []string
	if n := runtime.NumCPU(); t.Load > maxLoad*float64(n) {
		signs = append(signs, fmt.Sprintf("a load of %.1f on %d processors before it began", t.Load, n))
	}
	for _, runs := range t.Runs {
		if s := spread(runs); s > maxSpread {
			signs = append(signs, fmt.Sprintf("runs of the same work that took %.2f times as long as others", s))
			break
		}
	}
	if t.Ratio > 0 && t.Speedup > maxExcess*t.Ratio {
		signs = append(signs, fmt.Sprintf("a speed-up of %.2f where only %.2f times the FLOPs are saved", t.Speedup, t.Ratio))
	}
	return signs
}

// spread is the longest time over the shortest, 1 for fewer than two.
func spread(times []float64) float64 {
	if len(times) < 2 || slices.Min(times) <= 0 {
		return 1
	}
	return slices.Max(times) / slices.Min(times)
}
