package eval

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestBootstrapMean compares with the normal interval of a mean, and counts how often intervals
// hold the truth.
func TestBootstrapMean(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	held := 0
	const sets = 200
	for set := range sets {
		values := make([]float64, 100)
		mean, variance := 0.0, 0.0
		for i := range values {
			values[i] = 3 + r.NormFloat64()
			mean += values[i] / 100
		}
		for _, v := range values {
			variance += (v - mean) * (v - mean) / 100
		}
		in, err := BootstrapMean(values, MeanResamples, uint64(set))
		if err != nil {
			t.Fatal(err)
		}
		half := 1.96 * math.Sqrt(variance/100)
		if math.Abs(in.Low-(mean-half)) > 0.25*half || math.Abs(in.High-(mean+half)) > 0.25*half {
			t.Fatalf("interval %v, want about %g to %g", in, mean-half, mean+half)
		}
		if in.Low <= 3 && 3 <= in.High {
			held++
		}
		if again, _ := BootstrapMean(values, MeanResamples, uint64(set)); again != in {
			t.Fatalf("interval %v, then %v with the same seed", in, again)
		}
	}
	if share := float64(held) / sets; share < 0.88 || share > 0.99 {
		t.Errorf("%g of the intervals hold the mean, want about 0.95", share)
	}
	if in, err := BootstrapMean([]float64{1, 1, 1}, 10, 1); err != nil || in != (Estimate{1, 1, 1}) {
		t.Errorf("interval %v, error %v of equal values", in, err)
	}
	if _, err := BootstrapMean(nil, 10, 1); err == nil {
		t.Error("no error for no values")
	}
}

// TestBootstrapFrechet compares the interval's width with the spread of distances of sets that were
// drawn anew.
func TestBootstrapFrechet(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	mean, deviation := []float64{0, 0, 0, 0}, []float64{1, 1, 2, 0.5}
	reference := momentsOf(t, 4, gaussian(r, 5000, []float64{0.5, 0, 0, 0}, []float64{1, 1.5, 2, 0.5})).Gaussian()
	var fresh []float64
	for range 400 {
		d, err := momentsOf(t, 4, gaussian(r, 400, mean, deviation)).Gaussian().Frechet(reference)
		if err != nil {
			t.Fatal(err)
		}
		fresh = append(fresh, d)
	}
	low, high := percentiles(fresh)
	samples := gaussian(r, 400, mean, deviation)
	got, err := BootstrapFrechet(samples, reference, 200, 1)
	if err != nil {
		t.Fatal(err)
	}
	if ratio := (got.High - got.Low) / (high - low); ratio < 0.7 || ratio > 1.4 {
		t.Errorf("estimate %v, fresh samples lie in %g to %g", got, low, high)
	}
	first, err := InfluenceFrechet(momentsOf(t, 4, samples).Gaussian(), reference, samples, 1)
	if err != nil {
		t.Fatal(err)
	}
	if ratio := (first.High - first.Low) / (got.High - got.Low); ratio < 0.8 || ratio > 1.25 {
		t.Errorf("interval %v by the influence function, %v by resampling", first, got)
	}
	d, _ := momentsOf(t, 4, samples).Gaussian().Frechet(reference)
	if d < got.Low || d > got.High {
		t.Errorf("interval %v does not hold the distance %g", got, d)
	}
	if again, _ := BootstrapFrechet(samples, reference, 200, 1); again != got {
		t.Errorf("interval %v, then %v with the same seed", got, again)
	}
	if other, _ := BootstrapFrechet(samples, reference, 200, 2); other == got {
		t.Error("another seed gives the same interval")
	}
	for _, bad := range [][]float32{nil, {1, 2, 3}, {1, 2, 3, 4}} {
		if _, err := BootstrapFrechet(bad, reference, 10, 1); err == nil {
			t.Errorf("no error for features %v", bad)
		}
	}
}

// TestInfluenceFrechetOfSome checks that half of the images give nearly the interval of all, also
// where features depend on each other and one of them is constant.
func TestInfluenceFrechetOfSome(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	mixed := func(n int, scale float32) []float32 {
		x := gaussian(r, n, []float64{0, 0.2, 0, 0, 0}, []float64{1, 1, 2, 0.5, 0})
		for i := range n {
			row := x[5*i:][:5]
			row[1] += scale * row[0]
			row[3] -= row[2] / 3
		}
		return x
	}
	reference := momentsOf(t, 5, mixed(4000, 0.5)).Gaussian()
	samples := mixed(3000, 0.9)
	all, err := InfluenceFrechet(momentsOf(t, 5, samples).Gaussian(), reference, samples, 1)
	if err != nil {
		t.Fatal(err)
	}
	want, err := BootstrapFrechet(samples, reference, 200, 1)
	if err != nil {
		t.Fatal(err)
	}
	some, err := InfluenceFrechet(momentsOf(t, 5, samples).Gaussian(), reference, samples[:5*1500], 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]Estimate{"all": all, "some": some} {
		if ratio := (in.High - in.Low) / (want.High - want.Low); ratio < 0.8 || ratio > 1.25 {
			t.Errorf("%s: interval %v, by resampling %v", name, in, want)
		}
	}
	for _, bad := range [][]float32{nil, samples[:5], samples[:7], append(samples, samples...)} {
		if in, err := InfluenceFrechet(momentsOf(t, 5, samples).Gaussian(), reference, bad, 1); err == nil {
			t.Errorf("interval %v of %d numbers", in, len(bad))
		}
	}
}

// TestBootstrapScore compares with the spread of scores of sets that were drawn anew.
func TestBootstrapScore(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	draw := func() []float32 {
		const n, classes = 300, 4
		p := make([]float32, n*classes)
		for i := range p {
			p[i] = float32(2 * r.NormFloat64())
		}
		Softmax(p, p, classes)
		return p
	}
	var fresh []float64
	for range 300 {
		s, err := InceptionScore(draw(), 4, 100)
		if err != nil {
			t.Fatal(err)
		}
		fresh = append(fresh, s)
	}
	low, high := percentiles(fresh)
	p := draw()
	got, err := BootstrapScore(p, 4, 100, 200, 1)
	if err != nil {
		t.Fatal(err)
	}
	score, _ := InceptionScore(p, 4, 100)
	ratio := (got.High - got.Low) / (high - low)
	if ratio < 0.7 || ratio > 1.4 || score != got.Value || score < got.Low || score > got.High {
		t.Errorf("score %g, estimate %v, fresh images lie in %g to %g", score, got, low, high)
	}
}
