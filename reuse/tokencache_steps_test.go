package reuse_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// TestPercentileSteps checks that each I-step is where its percentile of the mass is reached.
func TestPercentileSteps(t *testing.T) {
	for _, test := range []struct {
		name  string
		mass  []float64
		count int
		want  []int
	}{
		{"even", []float64{1, 1, 1, 1, 1, 1, 1, 1}, 4, []int{0, 2, 4, 6}},
		{"at the end", []float64{0, 0, 0, 0, 1, 1, 1, 1}, 4, []int{0, 5, 6, 7}},
		{"at the start", []float64{4, 4, 1, 1, 1, 1, 1, 1}, 3, []int{0, 2, 4}},
		{"in one step", []float64{0, 0, 9, 0, 0}, 3, []int{0, 1, 3}},
		{"more than steps", []float64{1, 1}, 5, []int{0, 1}},
		{"none", []float64{0, 0, 0}, 2, []int{0, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := reuse.PercentileSteps(test.mass, test.count); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// TestStepRatios checks where tokens are computed: at every P-step, or as many at the last ones
// before each I-step.
func TestStepRatios(t *testing.T) {
	for _, test := range []struct {
		at    reuse.TokenSteps
		ratio float64
		want  []float64 // with I-steps at 0, 1, 4 and 8
	}{
		{"", 0.25, []float64{1, 1, 0.25, 0.25, 1, 0.25, 0.25, 0.25, 1, 0.25}},
		{reuse.EveryPStep, 0.5, []float64{1, 1, 0.5, 0.5, 1, 0.5, 0.5, 0.5, 1, 0.5}},
		{reuse.LastPSteps, 0.25, []float64{1, 1, 0, 0.5, 1, 0, 0, 0.75, 1, 0.25}},
		{reuse.LastPSteps, 0.5, []float64{1, 1, 0, 1, 1, 0, 0.5, 1, 1, 0.5}},
		{reuse.LastPSteps, 0, []float64{1, 1, 0, 0, 1, 0, 0, 0, 1, 0}},
		{reuse.LastPSteps, 1, []float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		t.Run(fmt.Sprintf("%s %g", test.at, test.ratio), func(t *testing.T) {
			p := reuse.NewTokenCache()
			p.Steps = reuse.StepChoice{Kind: reuse.ListedSteps, List: []int{0, 1, 4, 8}}
			p.Ratio, p.At = test.ratio, test.at
			if got, err := p.StepRatios(10); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%v (%v), want %v", got, err, test.want)
			}
		})
	}
}
