package reuse

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tokencache/tokencache/tensor"
)

// TestPackedDifferences checks forecasts from differences in bfloat16 against those in float32: each
// of the order+1 values kept is off by at most 2^-8 of itself, and each was made of those before.
func TestPackedDifferences(t *testing.T) {
	learned := NewForecast(20, 3)
	for i := range learned.Weights {
		learned.Weights[i] = float32(i%5) - 2
	}
	forms := map[string]func(format tensor.DType, width, order int) *differences{
		"Taylor": func(f tensor.DType, width, order int) *differences { return newDifferences(f, 1, 2, width, order) },
		"Newton": func(f tensor.DType, width, order int) *differences { return newNewton(f, 1, 2, width, order) },
		"learned": func(f tensor.DType, width, _ int) *differences {
			return newLearned(f, 1, 2, width, learned)
		},
	}
	for name, form := range forms {
		for _, width := range []int{2, 24, 130, 1034} {
			for order := range 4 {
				t.Run(fmt.Sprintf("%s/%d/%d", name, width, order), func(t *testing.T) {
					rnd := rand.New(rand.NewPCG(uint64(width), uint64(order)))
					exact, packed := form(tensor.F32, width, order), form(tensor.BF16, width, order)
					value, fresh := make([]float32, width), make([]float32, width)
					for _, p := range []int{0, 1, 3, 4, 7} {
						for i := range value {
							value[i] = float32(rnd.NormFloat64())
						}
						for _, d := range []*differences{exact, packed} {
							copy(fresh, value)
							d.record(0, 1, p, fresh)
						}
					}
					want, got := make([]float32, width), make([]float32, width)
					exact.addForecast(want, 0, 1, 8)
					packed.addForecast(got, 0, 1, 8)
					// Values of standard deviation 1 within 5, weights or binomials below 2^order·8.
					tolerance := math.Pow(2, float64(order)) * 8 * 5 * 3 / 256
					for i := range want {
						if d := math.Abs(float64(got[i] - want[i])); !(d <= tolerance) {
							t.Fatalf("element %d: %v, in float32 %v", i, got[i], want[i])
						}
					}
					if a, b := exact.lastTerm(0, 1, 8), packed.lastTerm(0, 1, 8); math.Abs(float64(a-b)) > 0.1*float64(a) {
						t.Errorf("last term %v, in float32 %v", b, a)
					}
					if a, b := len(exact.values[0]), len(packed.values[0]); a != 2*b {
						t.Errorf("%d floats are kept, in float32 %d", b, a)
					}
				})
			}
		}
	}
}

// TestPackedDifferencesAreRounded checks a first value, which is kept as it is but for rounding, and
// that rows of odd width, which have no halves, stay float32.
func TestPackedDifferencesAreRounded(t *testing.T) {
	for _, test := range []struct {
		width int
		want  float32
	}{{4, 1.0078125}, {5, 1.006}} {
		d := newDifferences(tensor.BF16, 1, 1, test.width, 1)
		fresh, got := make([]float32, test.width), make([]float32, test.width)
		for i := range fresh {
			fresh[i] = 1.006
		}
		d.record(0, 0, 0, fresh)
		d.addForecast(got, 0, 0, 1)
		for _, v := range got {
			if v != test.want {
				t.Errorf("width %d: %v, want %v", test.width, v, test.want)
			}
		}
	}
}
