package eval

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// TestFrechetReference compares with singular values of the features themselves, which are exact
// also where covariances are singular.
func TestFrechetReference(t *testing.T) {
	var expected map[string]struct {
		Want float64 `json:"svd_float64_reference"`
	}
	r := openRecorded(t, "features", &expected)
	if len(expected) < 7 {
		t.Fatalf("%d cases", len(expected))
	}
	for name, e := range expected {
		real, shape := arrayOf[float32](r, name+".real")
		fake, _ := arrayOf[float32](r, name+".fake")
		a, b := momentsOf(t, shape[1], real), momentsOf(t, shape[1], fake)
		got, err := Frechet(a, b)
		if err != nil || !(math.Abs(got-e.Want) <= 1e-12*math.Abs(e.Want)+2e-12) {
			t.Errorf("%s: distance %.16g, error %v, want %.16g", name, got, err, e.Want)
		}
		if note := a.Gaussian().Note("images"); (note != "") != (shape[0] <= shape[1]) {
			t.Errorf("%s: note %q for %d images of %d features", name, note, shape[0], shape[1])
		}
	}
}

// TestFrechetOfStatistics compares with what the distance is analytically.
func TestFrechetOfStatistics(t *testing.T) {
	var expected map[string]struct{ Analytic float64 }
	r := openRecorded(t, "frechet", &expected)
	if len(expected) < 4 {
		t.Fatalf("%d cases", len(expected))
	}
	for name, e := range expected {
		normal := func(n string) *Gaussian {
			mu, _ := arrayOf[float64](r, name+".mu"+n)
			sigma, _ := arrayOf[float64](r, name+".sigma"+n)
			return &Gaussian{Mean: mu, Covariance: mat.NewSymDense(len(mu), sigma)}
		}
		a, b := normal("1"), normal("2")
		for range 2 {
			got, err := a.Frechet(b)
			if err != nil || !(math.Abs(got-e.Analytic) <= 1e-13*e.Analytic) {
				t.Errorf("%s: distance %.16g, error %v, want %.16g", name, got, err, e.Analytic)
			}
			a, b = b, a
		}
	}
}

func TestFrechetRefuses(t *testing.T) {
	one := func(mean, variance float64, n int) *Gaussian {
		return &Gaussian{N: n, Mean: []float64{mean}, Covariance: mat.NewSymDense(1, []float64{variance})}
	}
	good := one(0, 1, 2)
	for name, bad := range map[string]*Gaussian{
		"mean":       one(math.NaN(), 1, 2),
		"covariance": one(0, math.Inf(1), 2),
		"negative":   one(0, -1, 2),
		"one image":  one(0, 1, 1),
		"width":      {Mean: []float64{0, 1}, Covariance: mat.NewSymDense(2, nil)},
		"shape":      {Mean: []float64{0}, Covariance: mat.NewSymDense(2, nil)},
		"nothing":    {},
	} {
		if _, err := good.Frechet(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := bad.Frechet(good); err == nil {
			t.Errorf("%s: no error the other way", name)
		}
	}
}

// TestFrechetOfOnePicture checks that sets whose images are all the same, with no covariance at
// all, have a distance.
func TestFrechetOfOnePicture(t *testing.T) {
	a, b := momentsOf(t, 2, []float32{1, 2, 1, 2}), momentsOf(t, 2, []float32{4, 6, 4, 6, 4, 6})
	if d, err := Frechet(a, b); err != nil || d != 25 {
		t.Errorf("distance %g, error %v, want 25", d, err)
	}
	c := momentsOf(t, 2, []float32{1, 2, 3, 2}) // mean 2, 2; variance 2, 0
	for range 2 {
		if d, err := Frechet(a, c); err != nil || math.Abs(d-3) > 1e-14 {
			t.Errorf("distance %g, error %v, want 3", d, err)
		}
		a, c = c, a
	}
}
