package comparison

import (
	"slices"
	"testing"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/report"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"psnr>=30":     {measure: targetPSNR, bound: 30},
		"PSNR >= 30dB": {measure: targetPSNR, bound: 30},
		"fd<=+4%":      {measure: targetFrechet, bound: 0.04},
		"fd<=-1.5%":    {measure: targetFrechet, bound: -0.015},
		"speed=2x":     {measure: targetSpeed, bound: 2},
		"speed>=2.5":   {measure: targetSpeed, bound: 2.5},
	} {
		got, err := ParseTarget(text)
		got.Text = ""
		if err != nil || got != want {
			t.Errorf("%s: %+v (%v), want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "psnr", "psnr<=30", "psnr>=high", "psnr>=NaN", "psnr>=30%", "fd<=4x", "speed=1x", "speed=0.5x", "speed=Inf",
	} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q: read as %+v", text, got)
		}
	}
}

func TestTargetMeets(t *testing.T) {
	value := func(v float64) *eval.Estimate { return &eval.Estimate{Value: v} }
	dB := func(v float64) *eval.Fidelity { return &eval.Fidelity{Mean: v} }
	slow := &report.Cell{Speedup: 1.96, PSNRUncached: dB(41), FrechetRatio: value(1.03)}
	fast := &report.Cell{Speedup: 3, PSNRUncached: dB(29), FrechetRatio: value(1.2)}
	exact := &report.Cell{Speedup: 1.5, PSNRUncached: dB(100), FrechetRatio: value(1)} // all images are the uncached ones
	failed := &report.Cell{Speedup: 9, Error: "no", PSNRUncached: dB(99)}
	for _, c := range []struct {
		target string
		meet   []*report.Cell
		best   *report.Cell
	}{
		{"psnr>=30", []*report.Cell{slow, exact}, slow},
		{"psnr>=20", []*report.Cell{slow, exact, fast}, fast},
		{"fd<=+4%", []*report.Cell{slow, exact}, slow},
		{"speed=2x", []*report.Cell{slow, fast}, slow}, // 1.96 is within the error of the measurement
		{"speed=1.5x", []*report.Cell{slow, fast, exact}, exact},
	} {
		target, err := ParseTarget(c.target)
		if err != nil {
			t.Fatal(err)
		}
		for _, cell := range []*report.Cell{slow, fast, exact, failed} {
			if got, want := target.meets(cell), slices.Contains(c.meet, cell); got != want {
				t.Errorf("%s: a cell of %+v meets it: %v, want %v", c.target, cell, got, want)
			}
		}
		for _, cell := range c.meet {
			if cell != c.best && (target.better(cell, c.best) || !target.better(c.best, cell)) {
				t.Errorf("%s: %+v is not worse than %+v", c.target, cell, c.best)
			}
		}
	}
}
