package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unit is half the distance of 1 to the next float32: the relative error of one rounding.
const unit = 1.0 / (1 << 24)

// product is a Gemm on guarded memory, with what is needed to compute it again.
type product struct {
	Gemm
	n, k    int
	before  []float32 // C
	weights []float32 // [n, k]
	c       *guard
}

// guards is the memory of a product, one guard for each operand.
type guards struct{ a, b, bias, gate, residual, c *guard }

func newGuards(t *testing.T, n int) *guards {
	return &guards{newGuard(t, n), newGuard(t, n), newGuard(t, n), newGuard(t, n), newGuard(t, n), newGuard(t, n)}
}

func (gs *guards) product(rnd *rand.Rand, m, n, k, variant int) *product {
	p := &product{n: n, k: k, c: gs.c}
	p.weights = randomFloats(rnd, n*k)
	packed := PackNK(gs.b.slice(PackedLen(n, k)), p.weights, k, n, k)
	p.M, p.LDA, p.LDC = m, k+variant%3, n+variant%4
	p.A = gs.a.matrix(rnd, m, k, p.LDA)
	p.C = gs.c.matrix(rnd, m, n, p.LDC)
	p.B = &packed
	if variant%5 != 0 {
		p.Bias = gs.bias.matrix(rnd, 1, n, n)
	}
	switch variant % 7 {
	case 0, 1:
	case 2, 3:
		p.Accumulate = true
	case 4:
		p.Epilogue = EpilogueGELU
	default:
		const samples = 3
		p.Epilogue = EpilogueGateResidual
		p.LDGate, p.LDResidual = n+variant%2, n+variant%3
		p.Gate = gs.gate.matrix(rnd, samples, n, p.LDGate)
		p.Residual = gs.residual.matrix(rnd, m, n, p.LDResidual)
		if variant%2 == 0 {
			for r := range m {
				p.RowSample = append(p.RowSample, int32(r*samples/m))
			}
		}
	}
	p.before = slices.Clone(p.C)
	return p
}

// check compares C with the product in float64. A sum of k products of which each has a rounding
// error, and each partial sum another, is within (k+2)·unit of the sum of magnitudes; an epilogue
// scales that error, and adds its own.
func (p *product) check(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("%d x %d x %d, epilogue %d, accumulate %v, bias %v",
		p.M, p.n, p.k, p.Epilogue, p.Accumulate, p.Bias != nil)
	p.c.check(t, name, p.M, p.n, p.LDC)
	for r := range p.M {
		for j := range p.n {
			var sum, magnitude float64
			add := func(v float64) { sum += v; magnitude += math.Abs(v) }
			if p.Bias != nil {
				add(float64(p.Bias[j]))
			}
			if p.Accumulate {
				add(float64(p.before[r*p.LDC+j]))
			}
			for i := range p.k {
				add(float64(p.A[r*p.LDA+i]) * float64(p.weights[j*p.k+i]))
			}
			want, tolerance := sum, float64(2*p.k+4)*unit*magnitude
			switch p.Epilogue {
			case EpilogueGELU:
				want = 0.5 * sum * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(sum+0.044715*sum*sum*sum)))
				const maxSlope = 1.13 // of GELU
				tolerance = maxSlope*tolerance + 16*unit*(1+math.Abs(sum))
			case EpilogueGateResidual:
				sample := 0
				if p.RowSample != nil {
					sample = int(p.RowSample[r])
				}
				gate, residual := float64(p.Gate[sample*p.LDGate+j]), float64(p.Residual[r*p.LDResidual+j])
				want = residual + gate*sum
				tolerance = math.Abs(gate)*tolerance + unit*(math.Abs(want)+math.Abs(gate)*tolerance)
			}
			if got := float64(p.C[r*p.LDC+j]); !(math.Abs(got-want) <= tolerance) {
				t.Fatalf("%s: C[%d,%d] = %v, want %v within %.2g", name, r, j, got, want, tolerance)
			}
		}
	}
}

func (p *product) runAll() {
	p.Run(AlignedFloats(GemmScratch), 0, p.M, 0, p.B.Panels())
}

func TestGemmEverySize(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		gs := newGuards(t, 1<<14)
		for m := 1; m <= 17; m++ {
			for n := 1; n <= 100; n++ {
				p := gs.product(rnd, m, n, 1+rnd.IntN(12), rnd.IntN(420))
				p.runAll()
				p.check(t)
			}
		}
		for k := 1; k <= 70; k++ {
			for _, n := range []int{1, 15, 16, 33, 48} {
				p := gs.product(rnd, 1+k%9, n, k, rnd.IntN(420))
				p.runAll()
				p.check(t)
			}
		}
	})
}

func TestTilesFitTheirBounds(t *testing.T) {
	for _, impl := range Impls() {
		if ops := impl.product; ops.rows > maxRows || ops.lanes*ops.vectors > maxColumns {
			t.Errorf("%v: tiles of %d x %d, at most %d x %d",
				impl, ops.rows, ops.lanes*ops.vectors, maxRows, maxColumns)
		}
	}
}

// TestGemmEveryVariant meets every combination of bias, accumulation, epilogue and distances of
// rows.
func TestGemmEveryVariant(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(3, 4))
		gs := newGuards(t, 1<<14)
		for variant := range 420 {
			p := gs.product(rnd, 13, 61, 9, variant)
			p.runAll()
			p.check(t)
		}
	})
}

func TestGemmDivisionKeepsEveryBit(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(5, 6))
		gs := newGuards(t, 1<<14)
		scratch := AlignedFloats(GemmScratch)
		for _, variant := range []int{0, 3, 4, 5, 6} {
			const m, n, k = 41, 163, 29
			p := gs.product(rnd, m, n, k, variant)
			p.runAll()
			whole := slices.Clone(p.C)
			for range 20 {
				copy(p.C, p.before)
				row, panel := 1+rnd.IntN(m-1), rnd.IntN(p.B.Panels())
				step := 1 + rnd.IntN(5)
				for panel0 := 0; panel0 < p.B.Panels(); panel0 += step {
					p.Run(scratch, row, m, panel0, min(panel0+step, p.B.Panels()))
				}
				p.Run(scratch, 0, row, panel, p.B.Panels())
				p.Run(scratch, 0, row, 0, panel)
				for i, v := range p.C {
					if math.Float32bits(v) != math.Float32bits(whole[i]) {
						t.Fatalf("variant %d, rows from %d, panels from %d: C[%d,%d] = %v, undivided %v",
							variant, row, panel, i/p.LDC, i%p.LDC, v, whole[i])
					}
				}
			}
		}
	})
}

// TestGemmGateResidualEqualsRowOperation compares the epilogue with the plain product followed by
// GateResidual, bit for bit.
func TestGemmGateResidualEqualsRowOperation(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(7, 8))
		const m, n, k = 11, 77, 19
		w := randomFloats(rnd, n*k)
		packed := PackNK(AlignedFloats(PackedLen(n, k)), w, k, n, k)
		gate, x := randomFloats(rnd, n), randomFloats(rnd, m*n)
		g := Gemm{A: randomFloats(rnd, m*k), LDA: k, M: m, B: &packed, C: make([]float32, m*n), LDC: n}
		g.Run(AlignedFloats(GemmScratch), 0, m, 0, packed.Panels())
		want := make([]float32, m*n)
		for r := range m {
			GateResidual(want[r*n:][:n], x[r*n:][:n], gate, g.C[r*n:][:n])
		}
		g.Epilogue, g.Gate, g.LDGate = EpilogueGateResidual, gate, n
		g.Residual, g.LDResidual, g.C = x, n, x // in place
		g.Run(AlignedFloats(GemmScratch), 0, m, 0, packed.Panels())
		if diff := cmp.Diff(want, x); diff != "" {
			t.Errorf("GateResidual after the product (-) and as its epilogue (+):\n%s", diff)
		}
	})
}

// TestGemmTaps compares a convolution by taps with one written out.
func TestGemmTaps(t *testing.T) {
	tests := []struct {
		name                            string
		channels, outputs, side, stride int
		rowsOfWindow                    bool // one tap for each row of a window, not for each pixel
	}{
		{"pixels", 5, 7, 6, 1, false},
		{"rows", 5, 50, 6, 1, true},
		{"stride 2", 4, 33, 7, 2, false},
		{"stride 2, rows", 3, 20, 9, 2, true},
	}
	eachImpl(t, func(t *testing.T) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				const window = 3
				rnd := rand.New(rand.NewPCG(9, 10))
				c, line := test.channels, (test.side+2)*test.channels
				padded := make([]float32, (test.side+2)*line)
				for y := 1; y <= test.side; y++ {
					fillRandom(rnd, padded[y*line+c:][:test.side*c])
				}
				k := window * window * c
				w := randomFloats(rnd, test.outputs*k) // [outputs, window, window, channels]
				bias := randomFloats(rnd, test.outputs)
				packed := PackNK(AlignedFloats(PackedLen(test.outputs, k)), w, k, test.outputs, k)
				var taps []int
				for y := range window {
					for x := range window {
						if x == 0 || !test.rowsOfWindow {
							taps = append(taps, y*line+x*c)
						}
					}
				}
				size := (test.side-1)/test.stride + 1
				for y := range size {
					image := padded[y*test.stride*line:]
					out := make([]float32, size*test.outputs)
					g := Gemm{
						A: image, LDA: test.stride * c, M: size, Taps: taps,
						B: &packed, Bias: bias, C: out, LDC: test.outputs,
					}
					g.Run(AlignedFloats(GemmScratch), 0, size, 0, packed.Panels())
					for x := range size {
						for o := range test.outputs {
							sum, magnitude := float64(bias[o]), math.Abs(float64(bias[o]))
							for i := range k {
								at := i/(window*c)*line + x*test.stride*c + i%(window*c)
								v := float64(image[at]) * float64(w[o*k+i])
								sum += v
								magnitude += math.Abs(v)
							}
							got := float64(out[x*test.outputs+o])
							if !(math.Abs(got-sum) <= float64(2*k+4)*unit*magnitude) {
								t.Fatalf("pixel %d,%d output %d: %v, want %v", y, x, o, got, sum)
							}
						}
					}
				}
			})
		}
	})
}

func TestGemmRefusesWhatDoesNotFit(t *testing.T) {
	const m, n, k = 3, 20, 8
	packed := PackNK(make([]float32, PackedLen(n, k)), make([]float32, n*k), k, n, k)
	fits := Gemm{A: make([]float32, m*k), LDA: k, M: m, B: &packed, C: make([]float32, m*n), LDC: n}
	fits.Check()
	gated := fits
	gated.Epilogue, gated.Gate, gated.LDGate = EpilogueGateResidual, make([]float32, n), n
	gated.Residual, gated.LDResidual = make([]float32, m*n), n
	gated.Check()
	tests := map[string]func() Gemm{
		"nothing packed":     func() Gemm { g := fits; g.B = nil; return g },
		"A too short":        func() Gemm { g := fits; g.A = g.A[1:]; return g },
		"C too short":        func() Gemm { g := fits; g.C = g.C[1:]; return g },
		"rows of C overlap":  func() Gemm { g := fits; g.LDC--; return g },
		"bias too short":     func() Gemm { g := fits; g.Bias = make([]float32, n-1); return g },
		"tap before A":       func() Gemm { g := fits; g.Taps = []int{0, -1}; return g },
		"tap behind A":       func() Gemm { g := fits; g.Taps = []int{0, k/2 + 1}; return g },
		"taps not dividing":  func() Gemm { g := fits; g.Taps = []int{0, 0, 0}; return g },
		"no such epilogue":   func() Gemm { g := fits; g.Epilogue = 9; return g },
		"accumulated GELU":   func() Gemm { g := fits; g.Epilogue, g.Accumulate = EpilogueGELU, true; return g },
		"gate too short":     func() Gemm { g := gated; g.Gate = g.Gate[1:]; return g },
		"residual too short": func() Gemm { g := gated; g.Residual = g.Residual[1:]; return g },
		"samples too few":    func() Gemm { g := gated; g.RowSample = make([]int32, m-1); return g },
		"sample of no gate":  func() Gemm { g := gated; g.RowSample = []int32{0, 0, 1}; return g },
		"negative sample":    func() Gemm { g := gated; g.RowSample = []int32{-1, 0, 0}; return g },
	}
	for name, gemm := range tests {
		t.Run(name, func(t *testing.T) {
			g := gemm()
			mustPanic(t, func() { g.Run(make([]float32, GemmScratch), 0, g.M, 0, packed.Panels()) })
		})
	}
	mustPanic(t, func() { fits.Run(nil, 0, m+1, 0, 1) })
	mustPanic(t, func() { fits.Run(nil, 0, m, 0, packed.Panels()+1) })
}

func mustPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("did not panic")
		}
	}()
	f()
}

func BenchmarkGemm(b *testing.B) {
	shapes := []struct {
		name string
		n, k int
	}{
		{"S-qkv", 1152, 384}, {"S-proj", 384, 384}, {"S-fc1", 1536, 384}, {"S-fc2", 384, 1536},
		{"XL-qkv", 3456, 1152}, {"XL-proj", 1152, 1152}, {"XL-fc1", 4608, 1152}, {"XL-fc2", 1152, 4608},
	}
	benchmarkImpls(b, func(b *testing.B) {
		for _, shape := range shapes {
			for _, m := range []int{32, 64, 128, 256, 512} {
				b.Run(fmt.Sprintf("%s/M=%d", shape.name, m), func(b *testing.B) {
					benchmarkGemm(b, m, shape.n, shape.k, EpiloguePlain)
				})
			}
		}
		epilogues := map[string]Epilogue{
			"plain":        EpiloguePlain,
			"GELU":         EpilogueGELU,
			"GateResidual": EpilogueGateResidual,
		}
		for name, epilogue := range epilogues {
			b.Run("epilogue/"+name, func(b *testing.B) { benchmarkGemm(b, 256, 1152, 1152, epilogue) })
		}
	})
}

func benchmarkGemm(b *testing.B, m, n, k int, epilogue Epilogue) {
	rnd := rand.New(rand.NewPCG(1, 1))
	packed := PackNK(AlignedFloats(PackedLen(n, k)), randomFloats(rnd, n*k), k, n, k)
	g := Gemm{
		A: randomFloats(rnd, m*k), LDA: k, M: m, B: &packed, Bias: randomFloats(rnd, n), Epilogue: epilogue,
		C: AlignedFloats(m * n), LDC: n,
	}
	if epilogue == EpilogueGateResidual {
		g.Gate, g.LDGate = randomFloats(rnd, n), n
		g.Residual, g.LDResidual = g.C, g.LDC // as in a transformer block
	}
	scratch := AlignedFloats(GemmScratch)
	reportOfPeak(b, F32, 2*float64(m)*float64(n)*float64(k), func() { g.Run(scratch, 0, m, 0, packed.Panels()) })
}
