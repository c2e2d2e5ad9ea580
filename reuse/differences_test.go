package reuse

import (
	"fmt"
	"math"
	"testing"
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
			d := newDifferences(1, 2, 1, test.order)
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
