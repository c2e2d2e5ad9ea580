package reuse_test

import (
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
