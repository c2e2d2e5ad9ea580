package kernel

import (
	"math"
	"testing"
)

// TestRowSpecials checks operands at which the functions have limits. Each is put at every place of
// a row of 21, so that whole vectors and the remainder both see it.
func TestRowSpecials(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	const tiny = math.SmallestNonzeroFloat32
	cases := []struct {
		name    string
		run     func(dst, x []float32)
		x, want float64
	}{
		{"Exp", Exp, 0, 1}, {"Exp", Exp, inf, inf}, {"Exp", Exp, -inf, 0}, {"Exp", Exp, nan, nan},
		{"Exp", Exp, 88.73, inf},
		{"Exp", Exp, 1e38, inf}, {"Exp", Exp, -1e38, 0}, {"Exp", Exp, -103.9, tiny}, {"Exp", Exp, -104, 0},
		{"Tanh", Tanh, 0, 0},
		{"Tanh", Tanh, math.Copysign(0, -1), math.Copysign(0, -1)}, {"Tanh", Tanh, inf, 1}, {"Tanh", Tanh, -inf, -1},
		{"Tanh", Tanh, nan, nan},
		{"Tanh", Tanh, 1e38, 1}, {"Tanh", Tanh, -1e38, -1},
		{"Tanh", Tanh, tiny, tiny}, {"Tanh", Tanh, -1e-30, -1e-30},
		{"GELU", GELU, 0, 0},
		{"GELU", GELU, inf, inf}, {"GELU", GELU, -inf, nan}, {"GELU", GELU, nan, nan}, {"GELU", GELU, 1e30, 1e30},
		{"GELU", GELU, -1e30, math.Copysign(0, -1)},
		{"SiLU", SiLU, 0, 0},
		{"SiLU", SiLU, inf, inf}, {"SiLU", SiLU, -inf, nan}, {"SiLU", SiLU, nan, nan}, {"SiLU", SiLU, 1e30, 1e30},
		{"SiLU", SiLU, -1e30, math.Copysign(0, -1)},
		{"ReLU", ReLU, inf, inf}, {"ReLU", ReLU, -inf, 0}, {"ReLU", ReLU, nan, nan},
	}
	for _, grad := range []struct {
		name string
		run  func(dst, x, dy []float32)
	}{{"GELUGrad", GELUGrad}, {"SiLUGrad", SiLUGrad}} {
		run := func(dst, x []float32) {
			one := make([]float32, len(x))
			for i := range one {
				one[i] = 1
			}
			grad.run(dst, x, one)
		}
		for _, c := range [][2]float64{{0, 0.5}, {inf, 1}, {-inf, 0}, {nan, nan}, {1e30, 1}, {-1e30, 0}, {50, 1}} {
			cases = append(cases, struct {
				name    string
				run     func(dst, x []float32)
				x, want float64
			}{grad.name, run, c[0], c[1]})
		}
	}
	eachImpl(t, func(t *testing.T) {
		for _, c := range cases {
			x, dst := make([]float32, 21), make([]float32, 21)
			c.run(dst, x)
			rest := dst[0]
			for place := range x {
				clear(x)
				x[place] = float32(c.x)
				c.run(dst, x)
				for i, got := range dst {
					want := rest
					if i == place {
						want = float32(c.want)
					}
					negativeZero := want == 0 && math.Signbit(float64(want))
					if got != want && !(got != got && want != want) || negativeZero && !math.Signbit(float64(got)) {
						t.Fatalf("%s(%g) at %d: element %d is %g, want %g", c.name, c.x, place, i, got, want)
					}
				}
			}
		}
	})
}

// TestSoftmaxSpecials checks rows with masked, equal, far apart and undefined elements.
func TestSoftmaxSpecials(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	all := func(v float32) []float32 {
		x := make([]float32, 37)
		for i := range x {
			x[i] = v
		}
		return x
	}
	one := func(rest, v float32) []float32 {
		x := all(rest)
		x[33] = v
		return x
	}
	eachImpl(t, func(t *testing.T) {
		for _, c := range []struct {
			name string
			x    []float32
			want []float32
		}{
			{"equal", all(3e38), all(1. / 37)},
			{"all but one masked", one(-inf, -5), one(0, 1)},
			{"far apart", one(-1e38, 1e38), one(0, 1)},
			{"NaN", one(0, nan), all(nan)},
			{"all masked", all(-inf), all(nan)},
			{"infinite", one(0, inf), all(nan)},
		} {
			t.Run(c.name, func(t *testing.T) {
				got := make([]float32, len(c.x))
				Softmax(got, c.x, 1)
				for i, want := range c.want {
					near := math.Abs(float64(got[i]-want)) <= 2*unit*float64(want)
					if !near && !(got[i] != got[i] && want != want) {
						t.Errorf("%s: element %d is %g, want %g", c.name, i, got[i], want)
					}
				}
			})
		}
	})
}

// TestNonlinearAccuracy measures errors in units in the last place over the range of each function.
func TestNonlinearAccuracy(t *testing.T) {
	for _, c := range []struct {
		name   string
		run    func(dst, x []float32)
		f      func(x float64) float64
		lo, hi float64
		limit  func(x float64) float64 // units
	}{
		// exp(r) of a reduced r below 0 is 1 + t with |t| < 1/3: half a unit for the sum, a quarter
		// each for t and r, 1/8 for the polynomial.
		{"Exp", Exp, math.Exp, -87, 88.7, func(float64) float64 { return 1.125 }},
		{"Exp to subnormal numbers", Exp, math.Exp, -104, -87, func(float64) float64 { return 1 }},
		{"Tanh", Tanh, math.Tanh, -10, 10, func(float64) float64 { return 2 }},
		{"Tanh near 0", Tanh, math.Tanh, -1e-3, 1e-3, func(float64) float64 { return 1 }},
		// The argument of the exponential has two or three roundings, and an exponential multiplies
		// errors by its argument.
		{"GELU", GELU, geluReference, -4, 10, func(x float64) float64 {
			return 3 + 2*math.Abs(min(x, 0)*(gelu1+gelu3*x*x))
		}},
		{"SiLU", SiLU, siluReference, -80, 80, func(float64) float64 { return 3 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachImpl(t, func(t *testing.T) {
				const n = 200_000
				x, dst := make([]float32, n), make([]float32, n)
				for i := range x {
					x[i] = float32(c.lo + (c.hi-c.lo)*float64(i)/n)
				}
				c.run(dst, x)
				var worst, at float64
				for i, x := range x {
					want := c.f(float64(x))
					size := math.Abs(want)
					_, exponent := math.Frexp(max(size, 0x1p-126))
					off := math.Abs(float64(dst[i])-want) / math.Ldexp(1, exponent-24)
					if off > worst {
						worst, at = off, float64(x)
					}
					if !(off <= c.limit(float64(x))) {
						t.Fatalf("%s(%g) is %g, want %g: %.2f units off", c.name, x, dst[i], want, off)
					}
				}
				t.Logf("at most %.3f units, at %g", worst, at)
			})
		})
	}
}
