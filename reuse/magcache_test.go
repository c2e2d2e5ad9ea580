package reuse

import (
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
)

// steps writes which steps are full, as 1.
func steps(full []bool) string {
	var b strings.Builder
	for _, f := range full {
		if f {
			b.WriteByte('1')
		} else {
			b.WriteByte('0')
		}
	}
	return b.String()
}

// TestMagCacheSteps checks which steps are full, for ratios whose errors are worked out by hand.
func TestMagCacheSteps(t *testing.T) {
	falling := []float64{1, 1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9}
	for _, test := range []struct {
		name   string
		policy MagCache
		steps  int
		want   string // of each step: 1 is full
	}{
		// After one skip the error is 0.1, after two 0.1 + 0.19.
		{"the threshold is reached", MagCache{Threshold: 0.25, Skips: 9, Retention: 0.25, Ratios: falling}, 8, "11010101"},
		{"two skips in a row", MagCache{Threshold: 0.3, Skips: 9, Retention: 0.25, Ratios: falling}, 8, "11001001"},
		{"the skips are bounded", MagCache{Threshold: 9, Skips: 1, Retention: 0.25, Ratios: falling}, 8, "11010101"},
		{"no ratios are ratios of 1", MagCache{Threshold: 0, Skips: 3}, 8, "10001000"},
		{"no skips", MagCache{Threshold: 9}, 4, "1111"},
		{"all are retained", MagCache{Threshold: 9, Skips: 9, Retention: 1}, 4, "1111"},
		// An error of 0.5, exactly the threshold.
		{"at the threshold", MagCache{Threshold: 0.5, Skips: 1, Ratios: []float64{1, 0.5, 1, 0.5}}, 4, "1010"},
		// The five steps have ratios 0, 0, 1, 2 and 2, halves rounded to even.
		{"ratios of fewer steps", MagCache{Threshold: 0.5, Skips: 9, Ratios: []float64{1, 3, 1}}, 5, "10100"},
		{"ratios of more steps", MagCache{Threshold: 0.5, Skips: 9, Ratios: []float64{1, 1, 3, 3, 1}}, 3, "110"},
		{"one step", MagCache{Threshold: 0.5, Skips: 9, Ratios: []float64{1, 3}}, 1, "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := steps(test.policy.full(test.policy.Ratios, test.steps)); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestMagCacheHalves checks that with ratios for each half of guidance the halves decide by
// themselves, at the threshold as well.
func TestMagCacheHalves(t *testing.T) {
	p := MagCache{
		Threshold:  0.5,
		Skips:      1,
		Ratios:     []float64{1, 1, 1, 1},
		NullRatios: []float64{1, 0.5, 1, 1},
	}
	full := p.halves(4)
	if cond, null := steps(full[0]), steps(full[1]); cond != "1010" || null != "1101" {
		t.Errorf("%s and %s, want 1010 and 1101", cond, null)
	}
	plan := Plan{Timesteps: make([]float64, 4)}
	for guidance, want := range map[float64][]float64{1: {1, 0, 1, 0}, 2: {1, 0.5, 0.5, 0.5}} {
		plan.Sampling = diffusion.Sampling{Guidance: guidance}
		if got, err := p.Shares(nil, plan); err != nil || !slices.Equal(got, want) {
			t.Errorf("guidance %g: shares %v (%v), want %v", guidance, got, err, want)
		}
	}
}
