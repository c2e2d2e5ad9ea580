package reuse

import (
	"math"
	"testing"

	"github.com/tokencache/tokencache/tensor"
)

// TestHermiteWeights checks the weights of differences against the polynomials written out: H1 =
// 2x, H2 = 4x² - 2, H3 = 8x³ - 12x, H4 = 16x⁴ - 48x² + 12.
func TestHermiteWeights(t *testing.T) {
	for _, test := range []struct {
		name, basis string
		sigma       float64
		gap         int
		want        []float64
	}{
		{"x = 1", HermiteBasis, 0.5, 2, []float64{1, 0.5 * 2, 0.125 * 2, 0.125 / 6 * -4, 0.0625 / 24 * -20}},
		{"x = 2", HermiteBasis, 1, 2, []float64{1, 4, 14. / 2, 40. / 6, 76. / 24}},
		{"where Hermite polynomials are not 0", HermiteBasis, 0.5, 0, []float64{1, 0, 0.125 * -2, 0, 0.0625 / 24 * 12}},
		{"monomials", ScaledTaylorBasis, 0.5, 3, []float64{1, 0.75, 0.5625 / 2, 27. / 64 / 6, 81. / 256 / 24}},
		{"Taylor's series", ScaledTaylorBasis, 1, 3, []float64{1, 3, 4.5, 4.5, 3.375}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &HiCache{Interval: 5, Order: 4, Warmup: 2, Sigma: test.sigma, Basis: test.basis}
			got := p.weights(5)[test.gap]
			for i, want := range test.want {
				if math.Abs(float64(got[i])-want) > 1e-6 {
					t.Errorf("order %d: %g, want %g", i, got[i], want)
				}
			}
		})
	}
}

// TestDifferencesFrom checks that values of positions that do not count make no differences.
func TestDifferencesFrom(t *testing.T) {
	d := newDifferences(tensor.F32, 1, 1, 1, 2)
	d.since = 2
	for p, v := range []float32{7, 3, 5} {
		d.record(0, 0, p, []float32{v})
	}
	got := []float32{0}
	if d.addForecast(got, 0, 0, 4); got[0] != 5+2*2 {
		t.Errorf("%g, want 9, of positions 1 and 2 alone", got[0])
	}
}
