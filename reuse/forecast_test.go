package reuse_test

import (
	"math"
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// TestLearnedForecast checks that weights that are Taylor's give what Taylor's series gives, where
// P-steps compute nothing and where they compute half of the tokens, and that weights for another
// number of steps are refused.
func TestLearnedForecast(t *testing.T) {
	m := model(t)
	batches := inputs(m, 2)
	for _, ratio := range []float64{0, 0.5} {
		taylor := *reuse.NewTokenCache()
		taylor.Ratio, taylor.Order = ratio, 1
		taylor.Steps = reuse.StepChoice{Kind: reuse.ListedSteps, List: []int{0, 1, 4}}
		learned := taylor
		learned.Learned = true
		f := reuse.NewForecast(len(batches), 2)
		for p := range batches {
			last, before := 1, 0
			if p > 4 {
				last, before = 4, 1
			}
			h := float32(p-last) / float32(last-before)
			copy(f.At(p), []float32{1 + h, -h})
		}
		learned.Forecast = f
		want, _, _ := outputs(t, m, &taylor, batches, 1)
		got, _, _ := outputs(t, m, &learned, batches, 2)
		for p := range want {
			for i, v := range want[p] {
				if d := math.Abs(float64(got[p][i] - v)); d > 1e-4*(1+math.Abs(float64(v))) {
					t.Fatalf("ratio %g, step %d, element %d: %g, want %g", ratio, p, i, got[p][i], v)
				}
			}
		}
		f.Steps++
		if _, err := learned.NewRun(m, plan, 1); err == nil {
			t.Errorf("ratio %g: no error for weights of another number of steps", ratio)
		}
	}
}
