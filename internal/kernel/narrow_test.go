package kernel

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// narrowTypes are the number formats that activations are converted to.
var narrowTypes = []DType{BF16, INT8}

// convertedOn returns x [m, k] as Converted for p, in guarded memory.
func convertedOn(mem *guard, p *Packed, x []float32, ldx, m int) *Converted {
	c := NewConverted(mem.slice(ConvertedLen(p, m)), p, m)
	c.Rows(x, ldx, 0, m)
	return &c
}

// inputs returns what row r of c stands for: bfloat16 as floats, int8 as integers.
func (c *Converted) inputs(r int) []float32 {
	values := make([]float32, c.K)
	words := c.words[r*c.ld:][:c.ld]
	for i := range values {
		switch {
		case c.dtype == BF16 && c.impl.narrow.bf16.words == c.impl.narrow.bf16.group:
			values[i] = words[i]
		case c.dtype == BF16:
			values[i] = fromBF16(integers[uint16](words)[i])
		case c.impl.narrow.int8.signed:
			values[i] = float32(int32(integers[int8](words)[i]) + 128)
		case c.impl.narrow.int8.group == 4:
			values[i] = float32(integers[uint8](words)[i])
		default:
			values[i] = float32(integers[uint16](words)[i])
		}
	}
	return values
}

// awkward returns n numbers of which some are zeros, ties of rounding, tiny or large.
func awkward(rnd *rand.Rand, n int) []float32 {
	x := randomFloats(rnd, n)
	for i := range x {
		switch rnd.IntN(12) {
		case 0:
			x[i] = 0
		case 1:
			x[i] = math.Float32frombits(math.Float32bits(x[i])&0xffff0000 | 0x8000) // a tie
		case 2:
			x[i] *= 0x1p-130
		case 3:
			x[i] *= 1000
		case 4:
			x[i] = -x[i]
		}
	}
	return x
}

func TestBF16RoundsToNearestEven(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, test := range []struct {
		name     string
		in, want uint32
	}{
		{"exact", 0x3f800000, 0x3f800000},
		{"down", 0x3f807fff, 0x3f800000},
		{"tie to even, down", 0x3f808000, 0x3f800000},
		{"tie to even, up", 0x3f818000, 0x3f820000},
		{"up", 0x3f808001, 0x3f810000},
		{"negative", 0xbf808001, 0xbf810000},
		{"overflow", 0x7f7fffff, math.Float32bits(inf)},
		{"infinity", math.Float32bits(inf), math.Float32bits(inf)},
		{"quiet NaN", 0x7fffffff, 0x7fff0000},
		{"signalling NaN with low bits only", 0xff800001, 0xffc00000},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := math.Float32bits(fromBF16(toBF16(math.Float32frombits(test.in)))); got != test.want {
				t.Errorf("%#x became %#x, want %#x", test.in, got, test.want)
			}
			everyImpl(t, func(t *testing.T) {
				x := make([]float32, 37)
				for i := range x {
					x[i] = math.Float32frombits(test.in)
				}
				p := Pack(BF16, make([]float32, len(x)), len(x), 1, len(x))
				c := convertedOn(newGuard(t, 64), &p, x, len(x), 1)
				for i, v := range c.inputs(0) {
					if math.Float32bits(v) != test.want {
						t.Fatalf("element %d: %#x, want %#x", i, math.Float32bits(v), test.want)
					}
				}
			})
		})
	}
}

// TestConversionIsTheSameAtEveryLevel compares every level with portable code, bit for bit, for
// every remainder of a vector.
func TestConversionIsTheSameAtEveryLevel(t *testing.T) {
	everyImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(31, 32))
		from, to := newGuard(t, 1<<10), newGuard(t, 1<<10)
		for k := 1; k <= 70; k++ {
			const m = 3
			x := from.slice((m-1)*(k+2) + k)
			for r := range m {
				copy(x[r*(k+2):][:k], awkward(rnd, k))
			}
			for _, d := range narrowTypes {
				p := Pack(d, make([]float32, k), k, 1, k)
				c := convertedOn(to, &p, x, k+2, m)
				generic := Converted{M: m, K: k, dtype: d, impl: impls[0]}
				generic.ld = impls[0].narrow.layout(d).rowWords(k)
				generic.words = make([]float32, m*generic.ld)
				generic.scale, generic.zero = make([]float32, m), make([]int32, m)
				generic.Rows(x, k+2, 0, m)
				for r := range m {
					got, want := c.inputs(r), generic.inputs(r)
					if !slices.Equal(got, want) {
						t.Fatalf("%v, row %d of %d inputs:\n%v, want\n%v", d, r, k, got, want)
					}
					if d == INT8 && (c.scale[r] != generic.scale[r] || c.zero[r] != generic.zero[r]) {
						t.Fatalf("row %d of %d inputs: scale %v and zero %d, want %v and %d",
							r, k, c.scale[r], c.zero[r], generic.scale[r], generic.zero[r])
					}
				}
			}
		}
	})
}

// TestQuantisationError checks that an integer stands for a number within half a step of the
// original, and that zero is exact.
func TestQuantisationError(t *testing.T) {
	everyImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(33, 34))
		for _, shift := range []float32{0, 5, -5} {
			x := randomFloats(rnd, 100)
			for i := range x {
				x[i] += shift
			}
			x[7] = 0
			p := Pack(INT8, make([]float32, len(x)), len(x), 1, len(x))
			c := convertedOn(newGuard(t, 256), &p, x, len(x), 1)
			for i, q := range c.inputs(0) {
				back := c.scale[0] * (q - float32(c.zero[0]))
				// The zero point is rounded, too, which moves a number at the end of the range by half a step.
				if limit := c.scale[0] * 1.001; math.Abs(float64(back-x[i])) > float64(limit) || i == 7 && back != 0 {
					t.Errorf("shift %v: %v became %v, %v steps off", shift, x[i], back, (back-x[i])/c.scale[0])
				}
			}
		}
	})
}

// narrowProduct is a product with both operands as the numbers that the kernels multiply.
type narrowProduct struct {
	*product
	d    DType
	x    *Converted
	a, b [][]float32 // rows of A, rows of weights
}

// narrow makes a product of number format d of p.
func (p *product) narrow(d DType, mem *guard) *narrowProduct {
	packed := Pack(d, p.weights, p.k, p.n, p.k)
	np := &narrowProduct{product: p, d: d, x: convertedOn(mem, &packed, p.A, p.LDA, p.M)}
	p.B, p.X, p.A = &packed, np.x, nil
	for r := range p.M {
		np.a = append(np.a, np.x.inputs(r))
	}
	for j := range p.n {
		row := make([]float32, p.k)
		_, inverse := weightScale(p.weights[j*p.k:][:p.k])
		for i := range row {
			w := p.weights[j*p.k+i]
			if row[i] = fromBF16(toBF16(w)); d == INT8 {
				row[i] = float32(roundToInt(w * inverse))
			}
		}
		np.b = append(np.b, row)
	}
	return np
}

// specified returns an element of the result before the epilogue, and the magnitude of the sum.
func (p *narrowProduct) specified(r, j int) (y float32, magnitude float64) {
	if p.d == INT8 {
		sum, weights := int64(0), int64(0)
		for i, a := range p.a[r] {
			sum += int64(a) * int64(p.b[j][i])
			weights += int64(p.b[j][i])
		}
		y = float32(int32(sum - int64(p.x.zero[r])*weights))
		y = float32(y * p.x.scale[r])
		y = float32(y * p.B.scale[j])
		if p.Bias != nil {
			y += p.Bias[j]
		}
		return y, 0
	}
	if p.Bias != nil {
		y = p.Bias[j]
	}
	magnitude = math.Abs(float64(y))
	if p.Accumulate {
		y += p.before[r*p.LDC+j]
		magnitude += math.Abs(float64(p.before[r*p.LDC+j]))
	}
	for i, a := range p.a[r] {
		y += float32(a * p.b[j][i])
		magnitude += math.Abs(float64(a) * float64(p.b[j][i]))
	}
	return y, magnitude
}

// checkNarrow compares C with the specification: bit for bit, but for VDPBF16PS and BFMMLA. These
// add pairs of products first: each of some k+1 additions rounds by a unit of a partial sum, at
// most, or, as BFMMLA rounds to odd, each of k/2+1 sums of a pair and k/2+1 others by two.
func (p *narrowProduct) checkNarrow(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("%v, %d x %d x %d, epilogue %d, accumulate %v, bias %v",
		p.d, p.M, p.n, p.k, p.Epilogue, p.Accumulate, p.Bias != nil)
	p.c.check(t, name, p.M, p.n, p.LDC)
	exact := p.B.layout.run != tileBF16DotOfAVX512 && p.B.layout.run != tileBF16MatrixOfNEON
	for r := range p.M {
		for j := range p.n {
			want, magnitude := p.specified(r, j)
			tolerance := 0.0
			if !exact {
				tolerance = float64(2*p.k+4) * unit * magnitude
			}
			switch p.Epilogue {
			case EpilogueGELU:
				y := []float32{want}
				GELU(y, y)
				want, tolerance = y[0], 1.13*tolerance
			case EpilogueGateResidual:
				sample := 0
				if p.RowSample != nil {
					sample = int(p.RowSample[r])
				}
				gate := p.Gate[sample*p.LDGate+j]
				want = fusedMultiplyAdd(gate, want, p.Residual[r*p.LDResidual+j])
				tolerance *= math.Abs(float64(gate))
			}
			if !exact {
				tolerance += 4 * unit * (1 + math.Abs(float64(want)))
			}
			if got := p.C[r*p.LDC+j]; !(math.Abs(float64(got)-float64(want)) <= tolerance) {
				t.Fatalf("%s: C[%d,%d] = %v, want %v within %.2g", name, r, j, got, want, tolerance)
			}
		}
	}
}

func TestNarrowGemmEverySize(t *testing.T) {
	everyImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(35, 36))
		gs, mem := newGuards(t, 1<<14), newGuard(t, 1<<14)
		run := func(d DType, m, n, k int) {
			variant := rnd.IntN(420)
			p := gs.product(rnd, m, n, k, variant)
			p.Accumulate = p.Accumulate && d == BF16
			np := p.narrow(d, mem)
			np.runAll()
			np.checkNarrow(t)
		}
		for _, d := range narrowTypes {
			for m := 1; m <= 17; m++ {
				for n := 1; n <= 100; n += 1 + m%3 {
					run(d, m, n, 1+rnd.IntN(12))
				}
			}
			for k := 1; k <= 70; k++ {
				for _, n := range []int{1, 15, 16, 33, 48} {
					run(d, 1+k%9, n, k)
				}
			}
		}
	})
}

func TestNarrowGemmDivisionKeepsEveryBit(t *testing.T) {
	everyImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(37, 38))
		gs, mem := newGuards(t, 1<<14), newGuard(t, 1<<14)
		scratch := AlignedFloats(GemmScratch)
		for _, d := range narrowTypes {
			for _, variant := range []int{0, 4, 5, 6} {
				const m, n, k = 41, 163, 29
				p := gs.product(rnd, m, n, k, variant).narrow(d, mem)
				p.runAll()
				whole := slices.Clone(p.C)
				for range 20 {
					copy(p.C, p.before)
					row, panel := 1+rnd.IntN(m-1), rnd.IntN(p.B.Panels())
					p.Run(scratch, row, m, 0, p.B.Panels())
					p.Run(scratch, 0, row, panel, p.B.Panels())
					p.Run(scratch, 0, row, 0, panel)
					for i, v := range p.C {
						if math.Float32bits(v) != math.Float32bits(whole[i]) {
							t.Fatalf("%v, variant %d, rows from %d, panels from %d: C[%d,%d] = %v, undivided %v",
								d, variant, row, panel, i/p.LDC, i%p.LDC, v, whole[i])
						}
					}
				}
			}
		}
	})
}

// TestINT8DoesNotSaturate multiplies the largest integers of either sign over the longest sum
// that a product may have.
func TestINT8DoesNotSaturate(t *testing.T) {
	everyImpl(t, func(t *testing.T) {
		const k = MaxINT8K
		weights, x := make([]float32, 2*k), make([]float32, k)
		for i := range k {
			weights[i], weights[k+i], x[i] = 1, -1, 255
		}
		packed := Pack(INT8, weights, k, 2, k)
		c := convertedOn(newGuard(t, 1<<15), &packed, x, k, 1)
		out := make([]float32, 2)
		g := Gemm{X: c, M: 1, B: &packed, C: out, LDC: 2}
		g.Run(AlignedFloats(GemmScratch), 0, 1, 0, packed.Panels())
		want := float32(float32(255*127*k)*c.scale[0]) * packed.scale[0]
		if out[0] != want || out[1] != -want {
			t.Errorf("%v, want %v and its negative", out, want)
		}
	})
}

// TestNarrowNotFinite checks that what is not finite reaches the results of its row, and no other.
func TestNarrowNotFinite(t *testing.T) {
	everyImpl(t, func(t *testing.T) {
		for _, d := range narrowTypes {
			for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
				for at := range 37 {
					const m, n, k = 3, 5, 37
					weights, x := make([]float32, n*k), make([]float32, m*k)
					for i := range weights {
						weights[i] = 1
					}
					x[k+at] = bad
					packed := Pack(d, weights, k, n, k)
					c := convertedOn(newGuard(t, 1<<9), &packed, x, k, m)
					out := make([]float32, m*n)
					g := Gemm{X: c, M: m, B: &packed, C: out, LDC: n}
					g.Run(AlignedFloats(GemmScratch), 0, m, 0, packed.Panels())
					for i, v := range out {
						if finite := v-v == 0; finite == (i/n == 1) {
							t.Fatalf("%v, %v at input %d: %v", d, bad, at, out)
						}
					}
				}
			}
		}
	})
}

func TestNarrowGemmRefusesWhatDoesNotFit(t *testing.T) {
	const m, n, k = 3, 20, 8
	for _, d := range narrowTypes {
		packed := Pack(d, make([]float32, n*k), k, n, k)
		x := NewConverted(AlignedFloats(ConvertedLen(&packed, m)), &packed, m)
		fits := Gemm{X: &x, M: m, B: &packed, C: make([]float32, m*n), LDC: n}
		fits.Check()
		other := Pack(BF16+INT8-d, make([]float32, n*k), k, n, k)
		shorter := Pack(d, make([]float32, n*k), k, n, k-1)
		for name, change := range map[string]func(g *Gemm){
			"nothing converted":    func(g *Gemm) { g.X, g.A, g.LDA = nil, make([]float32, m*k), k },
			"another format":       func(g *Gemm) { g.B = &other },
			"other inputs":         func(g *Gemm) { g.B = &shorter },
			"more rows":            func(g *Gemm) { g.M, g.C = m+1, make([]float32, (m+1)*n) },
			"taps":                 func(g *Gemm) { g.Taps = []int{0} },
			"accumulated integers": func(g *Gemm) { g.Accumulate = true; g.B = &other },
		} {
			t.Run(d.String()+"/"+name, func(t *testing.T) {
				g := fits
				change(&g)
				mustPanic(t, g.Check)
			})
		}
		mustPanic(t, func() { NewConverted(make([]float32, ConvertedLen(&packed, m)-1), &packed, m) })
		mustPanic(t, func() { x.Rows(make([]float32, m*k), k, 0, m+1) })
		mustPanic(t, func() { x.Rows(make([]float32, m*k-1), k, 0, m) })
	}
}

// TestFusedMultiplyAdd compares with exact arithmetic, near ties of rounding too.
func TestFusedMultiplyAdd(t *testing.T) {
	rnd := rand.New(rand.NewPCG(39, 40))
	exact := func(v float32) *big.Float { return new(big.Float).SetPrec(400).SetFloat64(float64(v)) }
	for i := range 100_000 {
		x, y := float32(rnd.NormFloat64()), float32(rnd.NormFloat64())
		z := float32(rnd.NormFloat64() * math.Ldexp(1, rnd.IntN(60)-30))
		if i%4 == 0 { // the product is a half of a unit of z, and a little
			z, x, y = 1, 0x1p-12*(1+float32(rnd.IntN(3))*0x1p-23), 0x1p-12*(1+float32(rnd.IntN(3))*0x1p-23)
			if rnd.IntN(2) == 0 {
				x = -x
			}
		}
		want, _ := new(big.Float).SetPrec(400).Add(new(big.Float).SetPrec(400).Mul(exact(x), exact(y)), exact(z)).Float32()
		if got := fusedMultiplyAdd(x, y, z); got != want {
			t.Fatalf("%v * %v + %v = %v, want %v", x, y, z, got, want)
		}
	}
}

func TestParseDType(t *testing.T) {
	for _, d := range DTypes() {
		if got, err := ParseDType(d.String()); err != nil || got != d {
			t.Errorf("%v: %v, %v", d, got, err)
		}
	}
	if _, err := ParseDType("f16"); err == nil {
		t.Error("f16 is a number format")
	}
}
