// Package busy tells whether other programs may have disturbed a measurement of time.
package busy

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// started is about when this program began.
var started = time.Now()

// Load returns how many processes of other programs wanted to run on average over the last minute,
// or 0 where the system does not say.
func Load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	return max(0, parseLoad(string(text))-own(time.Since(started)))
}

// own is about what this program adds to the load: the processors that it kept busy since it began,
// as the load counts them, which forgets all but a share of 1/e in a minute.
func own(age time.Duration) float64 {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil || age <= 0 {
		return 0
	}
	return parseSeconds(string(text)) / age.Seconds() * (1 - math.Exp(-age.Minutes()))
}

// parseSeconds returns the processor time in a /proc/PID/stat, in hundredths of a second the 14th
// and 15th field; the second is a name in parentheses.
func parseSeconds(stat string) float64 {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) < 13 {
		return 0
	}
	sum := 0.0
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseFloat(f, 64)
		if err != nil || ticks < 0 {
			return 0
		}
		sum += ticks / 100
	}
	return sum
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
