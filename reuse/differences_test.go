package reuse

import (
	"fmt"
	"math"
	"testing"

	"github.com/tokencache/tokencache/tensor"
)

// TestDifferences checks forecasts against their definition, on values that were computed at uneven
// distances.
func TestDifferences(t *testing.T) {
	values := map[int]float64{0: 1, 2: 5, 3: -2, 7: 4}
	f := func(p int) float64 { return values[p] }
	d1 := func(p, q int) float64 { return (f(p) - f(q)) / float64(p-q) }
	d2 := func(p, q, r int) float64 { return (d1(p, q) - d1(q, r)) / float64(p-q) }
	for _, test := range []struct {
		order, computed int // of the positions 0, 2, 3 and 7
		want            float64
	}{
		{0, 1, f(0)}, {0, 4, f(7)},
		{1, 1, f(0)}, {1, 2, f(2) + 3*d1(2, 0)}, {1, 4, f(7) + 3*d1(7, 3)},
		{2, 2, f(2) + 3*d1(2, 0)},
		{2, 3, f(3) + 3*d1(3, 2) + 4.5*d2(3, 2, 0)},
		{2, 4, f(7) + 3*d1(7, 3) + 4.5*d2(7, 3, 2)},
	} {
		t.Run(fmt.Sprintf("order %d after %d", test.order, test.computed), func(t *testing.T) {
			d := newDifferences(tensor.F32, 1, 2, 1, test.order)
			last := 0
			for _, p := range []int{0, 2, 3, 7}[:test.computed] {
				d.record(0, 1, p, []float32{float32(f(p))})
				last = p
			}
			got := []float32{0}
			if d.addForecast(got, 0, 1, last+3); math.Abs(float64(got[0])-test.want) > 1e-5 {
				t.Errorf("%g, want %g", got[0], test.want)
			}
			// Another row has another past, and positions that begin anew have none.
			none := []float32{0}
			if d.addForecast(none, 0, 0, 9); none[0] != 0 {
				t.Errorf("a forecast of %g from nothing", none[0])
			}
			d.record(0, 1, 0, []float32{8})
			again := []float32{0}
			if d.addForecast(again, 0, 1, 5); again[0] != 8 {
				t.Errorf("%g after a new beginning, want 8", again[0])
			}
		})
	}
}

// TestNewton checks that Newton's form forecasts polynomials of its order exactly, whatever the
// distances at which they were computed, that the last term is what an order less misses, and that
// up to order 1 it has the bits of the Taylor series.
func TestNewton(t *testing.T) {
	at := []int{0, 1, 4, 6, 7}
	for order := range 5 {
		t.Run(fmt.Sprintf("order %d", order), func(t *testing.T) {
			f := func(p, degree int) float64 {
				x, sum := float64(p)/4, 1.5
				for i := 1; i <= degree; i++ {
					sum += math.Pow(-1, float64(i)) * math.Pow(x, float64(i)) / float64(i)
				}
				return sum
			}
			d, less, taylor := newNewton(tensor.F32, 1, 2, 1, order), newNewton(tensor.F32, 1, 2, 1, max(order-1, 0)), newDifferences(tensor.F32, 1, 2, 1, order)
			for _, p := range at {
				v := float32(f(p, order))
				d.record(0, 1, p, []float32{v})
				less.record(0, 1, p, []float32{v})
				taylor.record(0, 1, p, []float32{v})
			}
			for q := 8; q < 11; q++ {
				forecast := func(d *differences) float32 {
					x := []float32{0}
					d.addForecast(x, 0, 1, q)
					return x[0]
				}
				got := forecast(d)
				if want := f(q, order); math.Abs(float64(got)-want) > 1e-4*(1+math.Abs(want)) {
					t.Errorf("at %d: %g, want %g", q, got, want)
				}
				if order <= 1 && got != forecast(taylor) {
					t.Errorf("at %d: %g, the Taylor series has %g", q, got, forecast(taylor))
				}
				missed := float64(got - forecast(less))
				term := math.Sqrt(float64(d.lastTerm(0, 1, q)))
				if order > 0 && math.Abs(term-math.Abs(missed)) > 1e-4*(1+term) {
					t.Errorf("at %d: last term %g, want %g", q, term, missed)
				}
			}
		})
	}
}
