package tensor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// rounded returns v as bfloat16 holds it.
func rounded(v float32) float64 {
	bits := math.Float32bits(v)
	return float64(math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff))
}

// TestLinearBF16Gradients checks output and gradients of a linear map that is trained in bfloat16
// against sums, in float64, of products of rounded operands, for fewer rows than a block has, for
// odd numbers and for several blocks, and that they do not depend on the number of workers.
func TestLinearBF16Gradients(t *testing.T) {
	const in, out = 50, 35
	for _, rows := range []int{1, 9, 1103} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			r := rand.New(rand.NewPCG(11, uint64(rows)))
			pw, pb := random(r, out, in), random(r, 1, out)
			x, dy, dx0 := random(r, rows, in), random(r, rows, out), random(r, rows, in)
			var first [4][]float32
			for _, workers := range []int{1, 3} {
				w := NewTrainable(&Param{Value: pw.Data, Grad: make([]float32, out*in)},
					&Param{Value: pb.Data, Grad: make([]float32, out)}, out, in)
				w.TrainIn(BF16)
				pool := NewPool(workers)
				g := NewGraph(pool)
				g.StartTape()
				input := FromSlice(x.Data, rows, in)
				g.RequireGrad(input)
				y := g.Linear(input, w)
				g.AddGrad(input, dx0)
				g.AddGrad(y, dy)
				g.Backward()
				got := [4][]float32{
					slices.Clone(y.Flat()), slices.Clone(g.Grad(input).Flat()), w.W.Grad, w.B.Grad,
				}
				pool.Close()
				if workers > 1 {
					for i := range got {
						if !slices.Equal(got[i], first[i]) {
							t.Errorf("result %d differs with %d workers", i, workers)
						}
					}
					continue
				}
				first = got
				check := func(what string, i, j, terms int, got float32, start float64, product func(k int) float64) {
					sum, size := start, math.Abs(start)
					for k := range terms {
						sum += product(k)
						size += math.Abs(product(k))
					}
					// VDPBF16PS adds two products before the sum: half an ulp for each, and one more.
					if limit := size * float64(terms+2) * 0x1p-24; math.Abs(float64(got)-sum) > limit {
						t.Errorf("%s[%d,%d] = %g, want %g, +-%g", what, i, j, got, sum, limit)
					}
				}
				for o := range out {
					check("db", 0, o, rows, got[3][o], 0, func(k int) float64 { return float64(dy.Row(k)[o]) })
					for i := range in {
						check("dW", o, i, rows, got[2][o*in+i], 0,
							func(k int) float64 { return rounded(dy.Row(k)[o]) * rounded(x.Row(k)[i]) })
					}
				}
				for s := range rows {
					for o := range out {
						check("y", s, o, in, got[0][s*out+o], float64(pb.Data[o]),
							func(k int) float64 { return rounded(x.Row(s)[k]) * rounded(pw.Row(o)[k]) })
					}
					for i := range in {
						check("dx", s, i, out, got[1][s*in+i], float64(dx0.Row(s)[i]),
							func(k int) float64 { return rounded(dy.Row(s)[k]) * rounded(pw.Row(k)[i]) })
					}
				}
			}
		})
	}
}
