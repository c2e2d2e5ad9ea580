package comparison

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/report"
)

// Target is what a search wants of a policy.
type Target struct {
	Text    string
	measure string  // one of those below
	bound   float64 // dB, change of a Fréchet distance as a share, or times the uncached model
}

// Measures that a target may bound.
const (
	targetPSNR    = "psnr"
	targetFrechet = "fd"
	targetSpeed   = "speed"
)

// ParseTarget reads a target as a user writes it: psnr>=30, fd<=+4% or speed=2x.
func ParseTarget(text string) (Target, error) {
	t := Target{Text: strings.ReplaceAll(text, " ", "")}
	for _, form := range []struct{ prefix, suffix, measure string }{
		{"psnr>=", "", targetPSNR},
		{"fd<=", "%", targetFrechet},
		{"speed=", "x", targetSpeed},
		{"speed>=", "x", targetSpeed},
	} {
		rest, ok := strings.CutPrefix(strings.ToLower(t.Text), form.prefix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSuffix(rest, "db"), form.suffix), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			break
		}
		t.measure, t.bound = form.measure, v
		switch {
		case t.measure == targetFrechet:
			t.bound /= 100
		case t.measure == targetSpeed && !(v > 1):
			return t, fmt.Errorf("target %s: want a speed of more than 1x, times the uncached model", text)
		}
		return t, nil
	}
	return t, fmt.Errorf("target %q: want psnr>=DB, such as psnr>=30, fd<=+PERCENT%%, such as fd<=+4%%, "+
		"or speed=TIMESx, such as speed=2x", text)
}

// NeedsFrechet reports whether a target is about Fréchet distances.
func (t Target) NeedsFrechet() bool { return t.measure == targetFrechet }

// speedSlack is the share by which a measured speed may stay behind: the error of the measurement.
const speedSlack = 0.03

// meets reports whether a cell meets the target.
func (t Target) meets(c *report.Cell) bool {
	if c.Error != "" {
		return false
	}
	switch t.measure {
	case targetPSNR:
		return c.PSNRUncached != nil && c.PSNRUncached.Mean >= t.bound
	case targetFrechet:
		return c.FrechetRatio != nil && c.FrechetRatio.Value <= 1+t.bound
	}
	return c.Speedup >= t.bound*(1-speedSlack)
}

// better reports whether cell a is better than b, if both meet the target: it is faster or, where a
// speed is wanted, has the nearer images.
func (t Target) better(a, b *report.Cell) bool {
	if t.measure != targetSpeed {
		return a.Speedup > b.Speedup
	}
	return a.PSNRUncached.Mean > b.PSNRUncached.Mean
}
