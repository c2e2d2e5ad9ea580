package calibrate

import (
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// TestDifferences holds that Newton's factors times the divided differences forecast a parabola exactly, from unevenly spaced values, and that higher differences of it vanish.
func TestDifferences(t *testing.T) {
	parabola := func(p int) float64 { return 3 - 0.7*float64(p) + 0.05*float64(p*p) }
	qs := []int{17, 12, 9, 3}
	for k := 1; k <= len(qs); k++ {
		basis, newton := differences(20, qs[:k])
		got := 0.0
		for i, w := range combine(basis, newton[:k]) {
			got += w * parabola(qs[i])
		}
		if want := parabola(20); k >= 3 && math.Abs(got-want) > 1e-9 {
			t.Errorf("forecast from %v: %g, want %g", qs[:k], got, want)
		}
		if k == 4 {
			third := 0.0
			for i, w := range basis[3] {
				third += w * parabola(qs[i])
			}
			if math.Abs(third) > 1e-9 {
				t.Errorf("third difference of a parabola: %g", third)
			}
		}
	}
}

// TestTarget holds that a step with the target noise leads from anywhere to where the uncached image is next.
func TestTarget(t *testing.T) {
	for _, sampler := range []string{"ddim", "ddpm"} {
		r := &reference{plan: reuse.Plan{Sampler: sampler, Sigma: []float64{10, 4, 0.5}}, size: 2}
		mean := func(p int, x, eps float64) float64 { // the step's mean, in y = x·sqrt(1+sigma²)
			s, next := r.plan.Sigma[p], r.plan.Sigma[p+1]
			y := x * math.Sqrt(1+s*s)
			if sampler == "ddpm" {
				return y - (s*s-next*next)/s*eps
			}
			return y + (next-s)*eps
		}
		r.states = [][]float32{{0.3, -1, 0.2, -0.9, 0, 0}}
		r.noises = [][]float32{{0.5, -0.4, 0.6, -0.3, 0, 0}}
		for p := range 2 {
			x, target := []float32{0.35, -0.8}, make([]float32, 2)
			r.target(target, 0, p, x)
			for k := range x {
				got := mean(p, float64(x[k]), float64(target[k]))
				want := mean(p, float64(r.states[0][2*p+k]), float64(r.noises[0][2*p+k]))
				if math.Abs(got-want) > 1e-4*(1+math.Abs(want)) {
					t.Errorf("%s, step %d: led to %g, want %g", sampler, p, got, want)
				}
			}
		}
	}
}

func TestPlacements(t *testing.T) {
	for _, steps := range []int{8, 50, 250} {
		for count := 2; count <= steps; count += 3 {
			for _, bend := range []float64{1, 0.7, 1.2} {
				for _, end := range []int{steps, steps + steps/count - 1} {
					list := bent(steps, end, count, bend)
					if len(list) != count || !increasing(list, steps) {
						t.Errorf("%d of %d steps, bend %g, end %d: %v", count, steps, bend, end, list)
					}
				}
			}
			if list := evenly(steps, count); !increasing(list, steps) {
				t.Errorf("evenly: %v", list)
			}
		}
	}
	if increasing([]int{0, 3, 3}, 8) || increasing([]int{0, 8}, 8) || increasing([]int{1, 2}, 8) {
		t.Error("positions that are not rising from 0 within the steps pass")
	}
}

func TestGauss(t *testing.T) {
	a := [terms][terms]float64{{4, 1, 0.5}, {1, 3, 0.2}, {0.5, 0.2, 2}}
	x := []float64{0.3, -2, 1.5}
	var b [terms]float64
	for i := range 3 {
		for j := range 3 {
			b[i] += a[i][j] * x[j]
		}
	}
	got := gauss(a, b, 3)
	if !slices.EqualFunc(got[:3], x, func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }) {
		t.Errorf("solution %v, want %v", got, x)
	}
}
