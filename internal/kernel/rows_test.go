package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A rowCase is one operation over rows and its reference in float64.
type rowCase struct {
	name    string
	inputs  int // first of which, if inPlace, is the destination too
	inPlace bool
	run     func(dst []float32, in [][]float32)
	want    func(in [][]float64) []float64
	// tolerance returns the largest error of an element.
	tolerance func(in [][]float64, i int, want float64) float64
}

// steps is the tolerance of n roundings of numbers as large as the terms.
func steps(n float64, terms func(in [][]float64, i int) float64) func([][]float64, int, float64) float64 {
	return func(in [][]float64, i int, want float64) float64 {
		return unit*n*(terms(in, i)+math.Abs(want)) + math.SmallestNonzeroFloat32
	}
}

func none([][]float64, int) float64 { return 0 }

// elementwise is the reference of an operation whose elements do not depend on each other.
func elementwise(f func(x []float64) float64) func(in [][]float64) []float64 {
	return func(in [][]float64) []float64 {
		out := make([]float64, len(in[0]))
		x := make([]float64, len(in))
		for i := range out {
			for j := range in {
				x[j] = in[j][i]
			}
			out[i] = f(x)
		}
		return out
	}
}

const (
	testScale = float32(0.37)
	testEps   = float32(1e-6)
)

func total(x []float64, f func(float64) float64) (sum float64) {
	for _, x := range x {
		sum += f(x)
	}
	return sum
}

func geluReference(x float64) float64 {
	if u := x * (gelu1 + gelu3*x*x); u < -700 {
		return math.Copysign(0, -1)
	}
	return x / (1 + math.Exp(-x*(gelu1+gelu3*x*x)))
}

func siluReference(x float64) float64 { return x / (1 + math.Exp(-x)) }

func geluDerivative(x float64) float64 {
	t := math.Tanh(x * (gelu1 + gelu3*x*x) / 2)
	return (1+t)/2 + x*(1-t*t)/4*(gelu1+3*gelu3*x*x)
}

func siluDerivative(x float64) float64 {
	s := 1 / (1 + math.Exp(-x))
	return s + x*s*(1-s)
}

func softmaxReference(in [][]float64) []float64 {
	highest := math.Inf(-1)
	for _, x := range in[0] {
		highest = max(highest, x)
	}
	out := make([]float64, len(in[0]))
	e := func(x float64) float64 { return math.Exp(float64(testScale) * (x - highest)) }
	sum := total(in[0], e)
	for i, x := range in[0] {
		out[i] = e(x) / sum
	}
	return out
}

func normaliseReference(modulated bool) func(in [][]float64) []float64 {
	return func(in [][]float64) []float64 {
		x := in[0]
		n := float64(len(x))
		mean := total(x, func(x float64) float64 { return x }) / n
		variance := total(x, func(x float64) float64 { return (x - mean) * (x - mean) }) / n
		out := make([]float64, len(x))
		for i, x := range x {
			out[i] = (x - mean) / math.Sqrt(variance+float64(testEps))
			if modulated {
				out[i] = out[i]*(1+in[2][i]) + in[1][i]
			}
		}
		return out
	}
}

// normaliseTolerance allows the mean an error of the roundings of its sum, whose terms are up to
// the largest of x, and the deviation one in proportion. Every addend takes part in at most n
// additions.
func normaliseTolerance(modulated bool) func(in [][]float64, i int, want float64) float64 {
	return func(in [][]float64, i int, want float64) float64 {
		x := in[0]
		n := float64(len(x))
		mean := total(x, func(x float64) float64 { return x }) / n
		variance := total(x, func(x float64) float64 { return (x - mean) * (x - mean) }) / n
		deviation := math.Sqrt(variance + float64(testEps))
		largest := total(x, math.Abs) / n
		terms := (largest*n + math.Abs(x[i]) + math.Abs(x[i]-mean)*(n+4)) / deviation
		if modulated {
			terms = terms*math.Abs(1+in[2][i]) + 2*math.Abs(in[1][i])
		}
		return unit * (terms + math.Abs(want))
	}
}

func rowCases() []rowCase {
	product := func(a, b int) func(in [][]float64, i int) float64 {
		return func(in [][]float64, i int) float64 { return math.Abs(in[a][i] * in[b][i]) }
	}
	s := float64(testScale)
	magnitudes := func(in [][]float64, i int) float64 { return math.Abs(in[0][i]) + math.Abs(in[1][i]) }
	gradTerms := func(in [][]float64, i int) float64 { return 8 * math.Abs(in[1][i]) }
	return []rowCase{
		{name: "Add", inputs: 2, run: func(d []float32, in [][]float32) { Add(d, in[0], in[1]) },
			want: elementwise(func(x []float64) float64 { return x[0] + x[1] }), tolerance: steps(1, none)},
		{name: "Sub", inputs: 2, run: func(d []float32, in [][]float32) { Sub(d, in[0], in[1]) },
			want: elementwise(func(x []float64) float64 { return x[0] - x[1] }), tolerance: steps(1, none)},
		{name: "Mul", inputs: 2, run: func(d []float32, in [][]float32) { Mul(d, in[0], in[1]) },
			want: elementwise(func(x []float64) float64 { return x[0] * x[1] }), tolerance: steps(1, none)},
		{name: "MulAdd", inputs: 3, inPlace: true, run: func(d []float32, in [][]float32) { MulAdd(d, in[1], in[2]) },
			want: elementwise(func(x []float64) float64 { return x[0] + x[1]*x[2] }), tolerance: steps(1, none)},
		{
			name:      "GateResidual",
			inputs:    3,
			run:       func(d []float32, in [][]float32) { GateResidual(d, in[0], in[1], in[2]) },
			want:      elementwise(func(x []float64) float64 { return x[0] + x[1]*x[2] }),
			tolerance: steps(1, none),
		},
		{name: "ScaleShift", inputs: 3, run: func(d []float32, in [][]float32) { ScaleShift(d, in[0], in[1], in[2]) },
			want: elementwise(func(x []float64) float64 { return x[0]*x[1] + x[2] }), tolerance: steps(1, none)},
		{name: "Scale", inputs: 1, run: func(d []float32, in [][]float32) { Scale(d, in[0], testScale) },
			want: elementwise(func(x []float64) float64 { return x[0] * s }), tolerance: steps(1, none)},
		{name: "AXPY", inputs: 2, inPlace: true, run: func(d []float32, in [][]float32) { AXPY(d, testScale, in[1]) },
			want: elementwise(func(x []float64) float64 { return x[0] + s*x[1] }), tolerance: steps(1, none)},
		{name: "Blend", inputs: 2, run: func(d []float32, in [][]float32) { Blend(d, testScale, in[0], in[1]) },
			want:      elementwise(func(x []float64) float64 { return s*x[0] + (1-s)*x[1] }),
			tolerance: steps(2, magnitudes)},
		{name: "Lerp", inputs: 2, inPlace: true, run: func(d []float32, in [][]float32) { Lerp(d, in[1], testScale) },
			want:      elementwise(func(x []float64) float64 { return s*x[0] + (1-s)*x[1] }),
			tolerance: steps(2, magnitudes)},
		{name: "ReLU", inputs: 1, run: func(d []float32, in [][]float32) { ReLU(d, in[0]) },
			want: elementwise(func(x []float64) float64 { return max(x[0], 0) }), tolerance: steps(0, none)},
		{name: "Exp", inputs: 1, run: func(d []float32, in [][]float32) { Exp(d, in[0]) },
			want: elementwise(func(x []float64) float64 { return math.Exp(x[0]) }), tolerance: steps(2, none)},
		{name: "Tanh", inputs: 1, run: func(d []float32, in [][]float32) { Tanh(d, in[0]) },
			want: elementwise(func(x []float64) float64 { return math.Tanh(x[0]) }), tolerance: steps(4, none)},
		{name: "GELU", inputs: 1, run: func(d []float32, in [][]float32) { GELU(d, in[0]) },
			want:      elementwise(func(x []float64) float64 { return geluReference(x[0]) }),
			tolerance: steps(4, product(0, 0))},
		{name: "SiLU", inputs: 1, run: func(d []float32, in [][]float32) { SiLU(d, in[0]) },
			want:      elementwise(func(x []float64) float64 { return siluReference(x[0]) }),
			tolerance: steps(8, none)},
		{
			name:   "Softmax",
			inputs: 1,
			run:    func(d []float32, in [][]float32) { Softmax(d, in[0], testScale) },
			want:   softmaxReference,
			// The exponents are at most 4 or so, with two roundings; exponentials have 2, and every
			// addition one.
			tolerance: func(in [][]float64, i int, want float64) float64 {
				return unit * float64(16+len(in[0])) * want
			},
		},
		{
			name:      "LayerNorm",
			inputs:    1,
			run:       func(d []float32, in [][]float32) { LayerNormModulate(d, in[0], nil, nil, testEps) },
			want:      normaliseReference(false),
			tolerance: normaliseTolerance(false),
		},
		{
			name:      "LayerNormModulate",
			inputs:    3,
			run:       func(d []float32, in [][]float32) { LayerNormModulate(d, in[0], in[1], in[2], testEps) },
			want:      normaliseReference(true),
			tolerance: normaliseTolerance(true),
		},
		{name: "GELUGrad", inputs: 2, run: func(d []float32, in [][]float32) { GELUGrad(d, in[0], in[1]) },
			want:      elementwise(func(x []float64) float64 { return geluDerivative(x[0]) * x[1] }),
			tolerance: steps(4, gradTerms)},
		{name: "SiLUGrad", inputs: 2, run: func(d []float32, in [][]float32) { SiLUGrad(d, in[0], in[1]) },
			want:      elementwise(func(x []float64) float64 { return siluDerivative(x[0]) * x[1] }),
			tolerance: steps(4, gradTerms)},
		{
			name:   "SoftmaxGrad",
			inputs: 2,
			run:    func(d []float32, in [][]float32) { SoftmaxGrad(d, in[0], in[1], testScale) },
			want: func(in [][]float64) []float64 {
				var dot float64
				for i, p := range in[0] {
					dot += p * in[1][i]
				}
				return elementwise(func(x []float64) float64 { return s * x[0] * (x[1] - dot) })(in)
			},
			tolerance: func(in [][]float64, i int, want float64) float64 {
				var magnitude float64
				for j, p := range in[0] {
					magnitude += math.Abs(p * in[1][j])
				}
				return unit * (float64(len(in[0])+2)*magnitude*math.Abs(in[0][i])*s + 4*math.Abs(want))
			},
		},
	}
}

// testLengths are all around the numbers of lanes, and some large ones.
func testLengths() []int {
	var lengths []int
	for n := range 71 {
		lengths = append(lengths, n)
	}
	return append(lengths, 127, 128, 129, 256, 1000, 1152)
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, x := range x {
		out[i] = float64(x)
	}
	return out
}

// TestRowMaps compares the operations with their references, at every length, on slices at whose
// end memory ends.
func TestRowMaps(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(21, 22))
		const maxLength = 1152
		guards := make([]*guard, 4)
		for i := range guards {
			guards[i] = newGuard(t, maxLength)
		}
		for _, c := range rowCases() {
			for _, n := range testLengths() {
				in, wide := make([][]float32, c.inputs), make([][]float64, c.inputs)
				for i := range in {
					in[i] = guards[i].slice(n)
					fillRandom(rnd, in[i])
					wide[i] = widen(in[i])
				}
				dst := guards[3].slice(n)
				if c.inPlace {
					dst = in[0]
				}
				c.run(dst, in)
				for i, want := range c.want(wide) {
					if diff := math.Abs(float64(dst[i]) - want); !(diff <= c.tolerance(wide, i, want)) {
						t.Fatalf("%s of %d: element %d is %g, want %g, off by %g, at most %g",
							c.name, n, i, dst[i], want, diff, c.tolerance(wide, i, want))
					}
				}
				for i := range in {
					if n > 0 {
						guards[i].check(t, fmt.Sprintf("%s of %d, operand %d", c.name, n, i), 1, n, n)
					}
				}
				if n > 0 {
					guards[3].check(t, fmt.Sprintf("%s of %d", c.name, n), 1, n, n)
				}
				for alias := range in {
					if c.inPlace {
						break
					}
					for i := range in {
						for j := range in[i] {
							in[i][j] = float32(wide[i][j])
						}
					}
					c.run(in[alias], in)
					for i, want := range dst {
						if math.Float32bits(in[alias][i]) != math.Float32bits(want) {
							t.Fatalf("%s of %d into operand %d: element %d is %g, want %g as elsewhere",
								c.name, n, alias, i, in[alias][i], want)
						}
					}
				}
			}
		}
	})
}

// TestRowDivisionKeepsEveryBit requires that what an operation makes of an element depends neither
// on where in a row it is nor on how long the row is: the parts of a product see pieces of rows.
func TestRowDivisionKeepsEveryBit(t *testing.T) {
	wholeRows := map[string]bool{"Softmax": true, "LayerNorm": true, "LayerNormModulate": true, "SoftmaxGrad": true}
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(29, 30))
		const n = 100
		for _, c := range rowCases() {
			if wholeRows[c.name] {
				continue
			}
			in, parts := make([][]float32, c.inputs), make([][]float32, c.inputs)
			for i := range in {
				in[i] = randomFloats(rnd, n)
				parts[i] = slices.Clone(in[i])
			}
			whole, divided := make([]float32, n), make([]float32, n)
			if c.inPlace {
				whole, divided = in[0], parts[0]
			}
			c.run(whole, in)
			for at := 0; at < n; {
				end := min(n, at+1+rnd.IntN(20))
				piece := make([][]float32, c.inputs)
				for i := range piece {
					piece[i] = parts[i][at:end]
				}
				c.run(divided[at:end], piece)
				at = end
			}
			for i, want := range whole {
				if math.Float32bits(divided[i]) != math.Float32bits(want) {
					t.Errorf("%s: element %d is %g in a piece of the row, %g in all of it", c.name, i, divided[i], want)
				}
			}
		}
	})
}

// TestRowFolds compares the sums and maxima with float64.
func TestRowFolds(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(23, 24))
		ga, gb := newGuard(t, 1152), newGuard(t, 1152)
		for _, n := range testLengths() {
			a, b := ga.slice(n), gb.slice(n)
			fillRandom(rnd, a)
			fillRandom(rnd, b)
			var sum, magnitude, dot, dotMagnitude, squares, l1, norm float64
			for i, x := range a {
				x, y := float64(x), float64(b[i])
				sum += x
				magnitude += math.Abs(x)
				dot += x * y
				dotMagnitude += math.Abs(x * y)
				squares += x * x
				l1 += math.Abs(x - y)
				norm += math.Abs(x)
			}
			steps := unit * float64(n+1)
			for _, c := range []struct {
				name            string
				got             float32
				want, tolerance float64
			}{
				{"Sum", Sum(a), sum, steps * magnitude},
				{"Dot", Dot(a, b), dot, steps * dotMagnitude},
				{"SumSquares", SumSquares(a), squares, steps * squares},
				{"L1Diff", L1Diff(a, b), l1, steps * l1},
				{"L1Norm", L1Norm(a), norm, steps * norm},
			} {
				if !(math.Abs(float64(c.got)-c.want) <= c.tolerance) {
					t.Errorf("%s of %d is %g, want %g", c.name, n, c.got, c.want)
				}
			}
			clear(b)
			if got, want := L1Norm(a), L1Diff(a, b); math.Float32bits(got) != math.Float32bits(want) {
				t.Errorf("L1Norm of %d is %g, want the bits of L1Diff from zeros, %g", n, got, want)
			}
			for i := range a { // the highest element may be anywhere
				for j := range a {
					a[j] = float32(-2 - j)
				}
				a[i] = -1
				if got := active.row.highest(a); got != -1 {
					t.Fatalf("highest of %d, element %d, is %g, want -1", n, i, got)
				}
			}
		}
	})
}

// TestAdamW compares steps with the definition.
func TestAdamW(t *testing.T) {
	const lr, beta1, beta2, eps, decay, c1, c2 = 1e-2, 0.875, 0.9375, 1e-8, 0.125, 0.125, 0.0625
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(25, 26))
		var guards [4]*guard
		for i := range guards {
			guards[i] = newGuard(t, 1152)
		}
		for _, n := range testLengths() {
			var s [4][]float32
			var w [4][]float64
			for i := range s {
				s[i] = guards[i].slice(n)
				fillRandom(rnd, s[i])
				if i == 2 {
					Mul(s[2], s[2], s[2])
				}
				w[i] = widen(s[i])
			}
			AdamW(s[0], s[1], s[2], s[3], lr, beta1, beta2, eps, decay, c1, c2)
			for i := range n {
				g := w[3][i]
				m, v := beta1*w[1][i]+(1-beta1)*g, beta2*w[2][i]+(1-beta2)*g*g
				step := lr * (m / c1) / (math.Sqrt(v/c2) + eps)
				param := (1-lr*decay)*w[0][i] - step
				magnitude := beta1*math.Abs(w[1][i]) + (1-beta1)*math.Abs(g)
				stepError := unit * (8*math.Abs(step) + 3*lr*magnitude/c1/(math.Sqrt(v/c2)+eps))
				for j, c := range []struct{ want, tolerance float64 }{
					{param, stepError + 3*unit*(math.Abs(w[0][i])+math.Abs(param))},
					{m, 3 * unit * magnitude},
					{v, 4 * unit * v},
					{g, 0},
				} {
					if !(math.Abs(float64(s[j][i])-c.want) <= c.tolerance) {
						t.Fatalf("%d parameters: slice %d, element %d is %g, want %g", n, j, i, s[j][i], c.want)
					}
				}
			}
			for i := range guards {
				if n > 0 {
					guards[i].check(t, "AdamW", 1, n, n)
				}
			}
		}
	})
}

func TestRowsPanicOnUnequalLengths(t *testing.T) {
	a, b := make([]float32, 3), make([]float32, 4)
	for name, f := range map[string]func(){
		"Add":               func() { Add(a, a, b) },
		"Sub":               func() { Sub(a, a, b) },
		"Mul":               func() { Mul(a, b, a) },
		"MulAdd":            func() { MulAdd(a, a, b) },
		"GateResidual":      func() { GateResidual(a, b, a, a) },
		"ScaleShift":        func() { ScaleShift(a, a, a, b) },
		"Scale":             func() { Scale(a, b, 1) },
		"AXPY":              func() { AXPY(a, 1, b) },
		"Blend":             func() { Blend(a, 1, a, b) },
		"Dot":               func() { Dot(a, b) },
		"L1Diff":            func() { L1Diff(a, b) },
		"ReLU":              func() { ReLU(a, b) },
		"Exp":               func() { Exp(a, b) },
		"Tanh":              func() { Tanh(a, b) },
		"GELU":              func() { GELU(a, b) },
		"SiLU":              func() { SiLU(a, b) },
		"Softmax":           func() { Softmax(a, b, 1) },
		"LayerNormModulate": func() { LayerNormModulate(a, a, a, nil, 1) },
		"GELUGrad":          func() { GELUGrad(a, a, b) },
		"SiLUGrad":          func() { SiLUGrad(a, b, a) },
		"SoftmaxGrad":       func() { SoftmaxGrad(a, a, b, 1) },
		"Lerp":              func() { Lerp(a, b, 1) },
		"AdamW":             func() { AdamW(a, a, a, b, 1, 1, 1, 1, 1, 1, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("unequal lengths did not panic")
				}
			}()
			f()
		})
	}
}

func BenchmarkRows(b *testing.B) {
	rnd := rand.New(rand.NewPCG(27, 28))
	x, y, z, w := randomFloats(rnd, 4608), randomFloats(rnd, 4608), randomFloats(rnd, 4608), randomFloats(rnd, 4608)
	for _, c := range []struct {
		name string
		n    int
		run  func(n int)
	}{
		{"Softmax", 256, func(n int) { Softmax(w[:n], x[:n], 0.125) }},
		{"LayerNormModulate", 1152, func(n int) { LayerNormModulate(w[:n], x[:n], y[:n], z[:n], 1e-6) }},
		{"GELU", 4608, func(n int) { GELU(w[:n], x[:n]) }},
		{"SiLU", 4608, func(n int) { SiLU(w[:n], x[:n]) }},
		{"Tanh", 4608, func(n int) { Tanh(w[:n], x[:n]) }},
		{"GateResidual", 1152, func(n int) { GateResidual(w[:n], x[:n], y[:n], z[:n]) }},
		{"Dot", 1152, func(n int) { Dot(x[:n], y[:n]) }},
	} {
		b.Run(fmt.Sprintf("%s/%d", c.name, c.n), func(b *testing.B) {
			benchmarkImpls(b, func(b *testing.B) {
				for b.Loop() {
					c.run(c.n)
				}
				b.ReportMetric(float64(c.n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelements/s")
			})
		})
	}
}
