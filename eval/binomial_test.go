package eval

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestClopperPearson checks intervals against published ones (R's binom.test, and the rule of
// three at the ends).
func TestClopperPearson(t *testing.T) {
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{
		{0, 10, 0, 0.3085},
		{10, 10, 0.6915, 1},
		{5, 10, 0.1871, 0.8129},
		{95, 100, 0.8872, 0.9836},
		{950, 1000, 0.9346, 0.9627},
		{980, 1000, 0.9693, 0.9877},
	} {
		low, high := ClopperPearson(c.k, c.n, 0.95)
		if math.Abs(low-c.low) > 1e-4 || math.Abs(high-c.high) > 1e-4 {
			t.Errorf("%d of %d: %.4f to %.4f, want %.4f to %.4f", c.k, c.n, low, high, c.low, c.high)
		}
	}
}

// TestBinomialCDF checks it against sums of products, and its ends.
func TestBinomialCDF(t *testing.T) {
	for _, c := range []struct {
		k, n    int
		p, want float64
	}{
		{-1, 5, 0.5, 0}, {5, 5, 0.5, 1}, {0, 5, 0.5, 1. / 32}, {2, 5, 0.5, 0.5},
		{0, 59, 0.05, math.Pow(0.95, 59)}, {3, 4, 0.5, 15. / 16}, {0, 3, 0, 1}, {2, 3, 1, 0},
	} {
		if got := BinomialCDF(c.k, c.n, c.p); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("at most %d of %d at %g: %.15f, want %.15f", c.k, c.n, c.p, got, c.want)
		}
	}
}

// TestToleranceRank checks ranks: the classic 59 of a 95/95 limit, and by simulation that the share
// of calibrations that cover is at least the confidence, and no longer with the next rank.
func TestToleranceRank(t *testing.T) {
	for _, c := range []struct {
		n, want int
	}{{58, 0}, {59, 1}, {92, 1}, {93, 2}, {200, 5}, {1000, 39}} {
		if got := ToleranceRank(c.n, 0.95, 0.95); got != c.want {
			t.Errorf("%d values: rank %d, want %d", c.n, got, c.want)
		}
	}
	const n, coverage, confidence, trials = 200, 0.95, 0.95, 4000
	k := ToleranceRank(n, coverage, confidence)
	rnd := rand.New(rand.NewPCG(1, 2))
	covers := [2]int{}
	values := make([]float64, n) // uniform: the share below a value is the value
	for range trials {
		for i := range values {
			values[i] = rnd.Float64()
		}
		slices.Sort(values)
		for more := range covers {
			if values[k-1+more] <= 1-coverage {
				covers[more]++
			}
		}
	}
	const sd = 0.0035 // of a share of the trials
	if share := float64(covers[0]) / trials; share < confidence-3*sd {
		t.Errorf("rank %d covers in %.3f of the calibrations, want %g", k, share, confidence)
	}
	if share := float64(covers[1]) / trials; share > confidence+3*sd {
		t.Errorf("rank %d covers in %.3f of the calibrations, so that %d is not the largest", k+1, share, k)
	}
}
