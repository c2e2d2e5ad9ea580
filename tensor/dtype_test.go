package tensor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// linears runs each kind of linear map of x with w, as a block does, and returns the results one
// behind the other.
func linears(g *Graph, x, residual *Tensor, rows *Rows, gate *Tensor, w *Weight) []float32 {
	var all []float32
	all = append(all, g.Linear(x, w).Flat()...)
	all = append(all, g.LinearGELU(x, w).Flat()...)
	all = append(all, g.LinearGateResidual(g.Copy(residual), gate, rows, x, w).Flat()...)
	return all
}

// TestNarrowLinearLaws checks that a row's result depends neither on the number of workers nor on
// the rows around it, bit for bit.
func TestNarrowLinearLaws(t *testing.T) {
	const samples, tokens, in, out = 3, 21, 70, 131
	rnd := rand.New(rand.NewPCG(1, 2))
	values := func(rows, cols int) *Tensor { return FromSlice(randomValues(rnd, rows*cols), rows, cols) }
	x, residual, gate := values(samples*tokens, in), values(samples*tokens, out), values(samples, out)
	matrix, bias := randomValues(rnd, out*in), randomValues(rnd, out)
	for _, d := range []DType{F32, BF16, INT8} {
		t.Run(d.String(), func(t *testing.T) {
			w := NewWeightAs(d, matrix, out, in, bias)
			var want []float32
			for _, workers := range []int{1, 2, 3, 7} {
				pool := NewPool(workers)
				defer pool.Close()
				g := NewGraph(pool)
				got := linears(g, x, residual, Uniform(samples, tokens), gate, w)
				if want == nil {
					want = got
				}
				sameBits(t, fmt.Sprintf("%d workers", workers), got, want)
				size := samples * tokens * out
				for s := range samples {
					alone := linears(g, g.RowRange(x, s*tokens, (s+1)*tokens), g.RowRange(residual, s*tokens, (s+1)*tokens),
						Uniform(1, tokens), g.RowRange(gate, s, s+1), w)
					for kind := range 3 {
						n := tokens * out
						sameBits(t, fmt.Sprintf("sample %d alone", s), alone[kind*n:][:n], want[kind*size+s*n:][:n])
					}
				}
			}
		})
	}
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, v := range got {
		if math.Float32bits(v) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, v, want[i])
		}
	}
}

func randomValues(rnd *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rnd.NormFloat64())
	}
	return v
}

// TestNarrowLinearError compares the number formats with float64. Rounding to bfloat16 changes a
// number by 2^-9 of itself at most, so a product by 2^-8 of its magnitude; rounding to int8 changes
// an activation by a step at most (half of one, and half of one for the zero point) and a weight by
// half of one.
func TestNarrowLinearError(t *testing.T) {
	const rows, in, out = 9, 200, 33
	rnd := rand.New(rand.NewPCG(3, 4))
	x, matrix := randomValues(rnd, rows*in), randomValues(rnd, out*in)
	pool := NewPool(2)
	defer pool.Close()
	g := NewGraph(pool)
	bounds := func(v []float32) (low, high float64) {
		for _, v := range v {
			low, high = min(low, float64(v)), max(high, float64(v))
		}
		return low, high
	}
	for _, d := range []DType{BF16, INT8} {
		t.Run(d.String(), func(t *testing.T) {
			got := g.Linear(FromSlice(x, rows, in), NewWeightAs(d, matrix, out, in, nil))
			for r := range rows {
				for o := range out {
					a, w := x[r*in:][:in], matrix[o*in:][:in]
					low, high := bounds(a)
					lowW, highW := bounds(w)
					stepA, stepW := (high-low)/255, max(-lowW, highW)/127
					var sum, limit float64
					for i := range in {
						a, w := float64(a[i]), float64(w[i])
						sum += a * w
						if d == BF16 {
							limit += math.Abs(a*w) * (0x1p-8 + 0x1p-18)
						} else {
							limit += math.Abs(w)*stepA + math.Abs(a)*stepW/2 + stepA*stepW/2
						}
						limit += math.Abs(a*w) * in * 0x1p-23 // of adding
					}
					if v := float64(got.Row(r)[o]); !(math.Abs(v-sum) <= limit) {
						t.Fatalf("row %d, output %d: %v, want %v within %v", r, o, v, sum, limit)
					}
				}
			}
		})
	}
}

func TestNarrowLinearAllocatesNothing(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	g := NewGraph(pool)
	rnd := rand.New(rand.NewPCG(5, 6))
	x := FromSlice(randomValues(rnd, 40*64), 40, 64)
	for _, d := range []DType{BF16, INT8} {
		w := NewWeightAs(d, randomValues(rnd, 64*64), 64, 64, nil)
		run := func() {
			g.Reset()
			g.LinearGELU(x, w)
		}
		run()
		if n := testing.AllocsPerRun(20, run); n != 0 {
			t.Errorf("%v: %v allocations", d, n)
		}
	}
}

// TestTooManyInputsForINT8 checks that a map whose sums could overflow keeps float32.
func TestTooManyInputsForINT8(t *testing.T) {
	const in = 1<<15 + 1
	if d := NewWeightAs(INT8, make([]float32, in), 1, in, nil).DType(); d != F32 {
		t.Errorf("%d inputs in %v", in, d)
	}
}
