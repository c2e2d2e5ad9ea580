package eval

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func gaussian(r *rand.Rand, n int, mean, deviation []float64) []float32 {
	var x []float32
	for range n {
		for j := range mean {
			x = append(x, float32(mean[j]+deviation[j]*r.NormFloat64()))
		}
	}
	return x
}

func momentsOf(t *testing.T, d int, parts ...[]float32) *Moments {
	t.Helper()
	m := NewMoments(d)
	for _, p := range parts {
		if err := m.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// TestFrechet compares with the closed form for independent dimensions, and with the laws of a
// distance.
func TestFrechet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x := gaussian(r, 2000, []float64{0, 1, 2}, []float64{1, 2, 0.5})
	y := gaussian(r, 1500, []float64{1, 1, 0}, []float64{2, 1, 0.5})
	a, b := momentsOf(t, 3, x), momentsOf(t, 3, y)
	if d, err := Frechet(a, a); err != nil || math.Abs(d) > 1e-9 {
		t.Errorf("distance %g of a set to itself, error %v", d, err)
	}
	ab, err := Frechet(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if ba, _ := Frechet(b, a); math.Abs(ab-ba) > 1e-9 {
		t.Errorf("%g there, %g back", ab, ba)
	}
	want := 1.0 + 4 + 1 + 1 // of the means, and (1-2)² + (2-1)² of the deviations
	if math.Abs(ab-want) > 0.5 {
		t.Errorf("distance %g, want about %g", ab, want)
	}
	// Exactly diagonal covariances.
	diagonal := func(v ...float64) *Moments {
		m := NewMoments(len(v))
		m.N = 2
		for i := range v {
			m.M2.SetSym(i, i, v[i])
		}
		return m
	}
	if d, _ := Frechet(diagonal(4, 9, 0), diagonal(1, 16, 0)); math.Abs(d-2) > 1e-12 {
		t.Errorf("distance %g, want 2", d)
	}
}

// TestMomentsInParts checks that parts add up to the whole.
func TestMomentsInParts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	x := gaussian(r, 1300, []float64{5, -100, 0.1}, []float64{1, 0.01, 3})
	whole := momentsOf(t, 3, x)
	parts := momentsOf(t, 3, x[:3])
	other := momentsOf(t, 3, x[3:600], x[600:])
	parts.Merge(other)
	if parts.N != 1300 || whole.N != 1300 {
		t.Fatalf("%d and %d vectors", parts.N, whole.N)
	}
	for i := range 3 {
		if math.Abs(parts.Mean[i]-whole.Mean[i]) > 1e-10 {
			t.Errorf("mean %d: %g in parts, %g at once", i, parts.Mean[i], whole.Mean[i])
		}
		for j := range 3 {
			if d := math.Abs(parts.M2.At(i, j) - whole.M2.At(i, j)); d > 1e-9*math.Sqrt(whole.M2.At(i, i)*whole.M2.At(j, j)) {
				t.Errorf("moment %d, %d: %g in parts, %g at once", i, j, parts.M2.At(i, j), whole.M2.At(i, j))
			}
		}
	}
}

func TestMomentsRefuse(t *testing.T) {
	if err := NewMoments(2).Add([]float32{1, float32(math.NaN())}); err == nil || !strings.Contains(err.Error(), "image 0") {
		t.Errorf("error %v for a feature that is no number", err)
	}
	if _, err := Frechet(NewMoments(2), NewMoments(3)); err == nil {
		t.Error("no error for features of different widths")
	}
	if _, err := Frechet(momentsOf(t, 1, []float32{1}), momentsOf(t, 1, []float32{1, 2})); err == nil {
		t.Error("no error for a set of one image")
	}
}
