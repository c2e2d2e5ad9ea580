package tensor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// gradCase is a computation with inputs whose gradients it checks.
type gradCase struct {
	name    string
	inputs  map[string]*Tensor // leaves
	compute func(g *Graph) *Tensor
}

// leaf makes a parameter of random values and its matrix.
func leaf(r *rand.Rand, rows, cols int) *Tensor {
	x := random(r, rows, cols)
	p := &Param{Value: x.Data, Grad: make([]float32, len(x.Data))}
	return p.Leaf(rows, cols)
}

// loss is a fixed random combination of a result's elements, in float64.
func loss(y *Tensor, weights []float32) float64 {
	sum := 0.0
	for i, v := range y.Flat() {
		sum += float64(v) * float64(weights[i])
	}
	return sum
}

// TestGradients compares the gradient of every operation with finite differences.
func TestGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	rows := newRows([]int{0, 5, 5, 12})
	keyRows := newRows([]int{0, 3, 4, 13})
	var cases []gradCase
	add := func(name string, inputs map[string]*Tensor, compute func(g *Graph) *Tensor) {
		cases = append(cases, gradCase{name, inputs, compute})
	}

	x, y := leaf(r, 12, 10), leaf(r, 12, 10)
	add("Add", map[string]*Tensor{"a": x, "b": y}, func(g *Graph) *Tensor { return g.Add(x, y) })
	add("Mul", map[string]*Tensor{"a": x, "b": y}, func(g *Graph) *Tensor { return g.Mul(g.SiLU(x), y) })
	add("Mul by itself", map[string]*Tensor{"a": x}, func(g *Graph) *Tensor { return g.Mul(x, x) })
	norm := leaf(r, 1, 5)
	add("RMSNorm of groups", map[string]*Tensor{"x": x, "weight": norm}, func(g *Graph) *Tensor {
		return g.RMSNorm(x, norm, 1e-6)
	})
	angles := make([]float64, 4*1)
	for i := range angles {
		angles[i] = 3 * r.Float64()
	}
	turn := NewRotation(angles, 2)
	add("Rotate", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor {
		return g.Rotate(x, turn, []int32{0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2, 3})
	})
	add("Add to itself", map[string]*Tensor{"a": x}, func(g *Graph) *Tensor { return g.Add(x, x) })
	add("SiLU", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor { return g.SiLU(x) })
	add("GELU", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor { return g.gelu(x) })
	add("Copy", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor { return g.Add(g.Copy(x), g.SiLU(x)) })
	add("Merge", map[string]*Tensor{"a": x, "b": y}, func(g *Graph) *Tensor {
		return g.Merge(x, y, []int32{3, -1, -12, 3, 11, -1, -1, 0})
	})
	permutation := []int32{3, -1, -8, 0, 2, -2, -7, -3, 1, -4, -6, -5}
	add("SplitRows", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor {
		a, b := g.SplitRows(x, permutation, 4)
		return g.Concat(g.SiLU(a), g.Gather(b, []int32{7, 0, 3, 0}))
	})
	add("SplitRows of which one part is unused", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor {
		_, b := g.SplitRows(x, permutation, 4)
		return g.SiLU(b)
	})
	add("JoinRows", map[string]*Tensor{"x": x, "y": y}, func(g *Graph) *Tensor {
		a, _ := g.SplitRows(x, permutation, 4)
		_, b := g.SplitRows(y, permutation, 4)
		return g.Add(g.JoinRows(a, b, permutation), g.JoinRows(g.RowRange(x, 2, 6), b, permutation))
	})
	add("SwiGLU", map[string]*Tensor{"x": x, "y": y}, func(g *Graph) *Tensor { return g.SwiGLU(x, y) })
	add("SwiGLU of itself", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor { return g.SwiGLU(x, x) })
	add("Gather", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor { return g.Gather(x, []int32{3, 0, 3, 11}) })
	add("columns and rows", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor {
		return g.Add(g.SiLU(g.Columns(x, 2, 5)), g.Columns(g.SiLU(x), 4, 7))
	})
	add("Unpatchify", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor {
		return g.Unpatchify(g.Columns(x, 0, 8), 2, 4, 6, 2)
	})

	add("Concat", map[string]*Tensor{"a": x, "b": y}, func(g *Graph) *Tensor {
		return g.SiLU(g.Concat(g.SiLU(x), g.Columns(y, 3, 8)))
	})
	add("Transpose", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor { return g.SiLU(g.Transpose(g.SiLU(x))) })
	table := leaf(r, 5, 10)
	add("AddCyclic", map[string]*Tensor{"x": x, "table": table}, func(g *Graph) *Tensor {
		return g.SiLU(g.AddCyclic(g.SiLU(x), table))
	})

	gate := leaf(r, 3, 10)
	add("GateResidual", map[string]*Tensor{"residual": x, "gate": gate, "y": y}, func(g *Graph) *Tensor {
		return g.GateResidual(g.SiLU(x), gate, rows, y)
	})
	shift, scale := leaf(r, 3, 10), leaf(r, 3, 10)
	add("LayerNormModulate", map[string]*Tensor{"x": x, "shift": shift, "scale": scale}, func(g *Graph) *Tensor {
		return g.LayerNormModulate(x, shift, scale, rows, 1e-6)
	})
	add("LayerNorm alone", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor {
		return g.LayerNormModulate(x, nil, nil, rows, 1e-6)
	})

	pw, pb := random(r, 7, 10), random(r, 1, 7)
	w := NewTrainable(&Param{Value: pw.Data, Grad: make([]float32, 70)},
		&Param{Value: pb.Data, Grad: make([]float32, 7)}, 7, 10)
	params := map[string]*Tensor{"x": x, "W": w.W.Leaf(7, 10), "b": w.B.Leaf(1, 7)}
	add("Linear", params, func(g *Graph) *Tensor { w.Repack(); return g.Linear(x, w) })
	add("Linear and GELU", params, func(g *Graph) *Tensor { w.Repack(); return g.LinearGELU(x, w) })
	add("LinearInto", params, func(g *Graph) *Tensor { w.Repack(); return g.LinearInto(g.New(12, 7), x, w) })
	res, gate7 := leaf(r, 12, 7), leaf(r, 3, 7)
	gated := map[string]*Tensor{"residual": res, "gate": gate7, "x": x, "W": params["W"], "b": params["b"]}
	add("LinearGateResidual", gated, func(g *Graph) *Tensor {
		w.Repack()
		return g.LinearGateResidual(g.Copy(res), gate7, rows, x, w)
	})

	alpha := leaf(r, 12, 3)
	add("Blend", map[string]*Tensor{"alpha": alpha, "fresh": x, "cached": y}, func(g *Graph) *Tensor {
		return g.Blend(g.Columns(g.Sigmoid(alpha), 1, 2), x, y)
	})
	add("StraightThrough", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor {
		soft := g.SiLU(x)
		return g.SiLU(g.StraightThrough(soft, soft.Flat())) // where hard is soft its derivative is 1
	})
	add("Sigmoid", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor { return g.Sigmoid(x) })
	add("Reshape", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor {
		return g.SiLU(g.Reshape(g.Columns(x, 2, 6), 6, 8))
	})
	add("SampleMean", map[string]*Tensor{"x": x}, func(g *Graph) *Tensor { return g.SampleMean(x, rows) })
	images := leaf(r, 2*5*4, 3)
	for name, s := range map[string]Conv3x3Geometry{"same size": Conv3x3Same, "half the size": Conv3x3Halve} {
		add("Unfold3x3, "+name, map[string]*Tensor{"x": images}, func(g *Graph) *Tensor {
			return g.Unfold3x3(Images{X: images, Height: 5, Width: 4}, s).X
		})
	}

	q, k, v := leaf(r, 12, 10), leaf(r, 13, 10), leaf(r, 13, 10)
	add("Attention", map[string]*Tensor{"q": q, "k": k, "v": v}, func(g *Graph) *Tensor {
		return g.Attention(AttentionInput{Heads: 2, Q: q, QRows: rows, K: k, V: v, KRows: keyRows})
	})
	add("Attention of a matrix to itself", map[string]*Tensor{"k": k}, func(g *Graph) *Tensor {
		c := g.Copy(k)
		return g.Attention(AttentionInput{Heads: 2, Q: c, QRows: keyRows, K: c, V: c, KRows: keyRows})
	})
	none := Rows{Start: []int{0, 0, 5, 12}, Sample: []int32{1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2}}
	add("Attention of a sample without queries", map[string]*Tensor{"q": q, "k": k, "v": v}, func(g *Graph) *Tensor {
		return g.Attention(AttentionInput{
			Heads: 2, Q: g.Copy(q), QRows: &none, K: g.Copy(k), V: g.Copy(v), KRows: keyRows,
		})
	})
	add("Attention of another scale", map[string]*Tensor{"q": q, "k": k, "v": v}, func(g *Graph) *Tensor {
		return g.Attention(AttentionInput{Heads: 2, Q: q, QRows: rows, K: k, V: v, KRows: keyRows, Scale: 1})
	})
	bias := leaf(r, 2, 39)
	pos := func(n int) (p []int32) {
		for range n {
			p = append(p, int32(r.IntN(20)))
		}
		return p
	}
	qpos, kpos := pos(12), pos(13)
	add("Attention with bias", map[string]*Tensor{"q": q, "k": k, "v": v, "bias": bias}, func(g *Graph) *Tensor {
		return g.Attention(AttentionInput{
			Heads: 2,
			Q:     q, QRows: rows,
			K: k, V: v, KRows: keyRows,
			Bias: bias, BiasOrigin: 19, QPlace: qpos, KPlace: kpos,
		})
	})
	qkv := leaf(r, 12, 12)
	add("Attention over columns of one matrix", map[string]*Tensor{"qkv": qkv}, func(g *Graph) *Tensor {
		return g.Attention(AttentionInput{
			Heads: 2,
			Q:     g.Columns(qkv, 0, 4),
			K:     g.Columns(qkv, 4, 8),
			V:     g.Columns(qkv, 8, 12),
			QRows: rows,
			KRows: rows,
		})
	})

	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			withGraph(t, 2, func(g *Graph) {
				for _, in := range c.inputs {
					clear(in.grad.Data)
				}
				g.StartTape()
				out := c.compute(g)
				weights := random(r, 1, out.Rows*out.Cols)
				g.AddGrad(out, FromSlice(weights.Data, out.Rows, out.Cols))
				g.Backward()
				got := map[string][]float32{}
				for name, in := range c.inputs {
					got[name] = slices.Clone(in.grad.Data)
				}
				at := func() float64 {
					g.Reset()
					return loss(c.compute(g), weights.Data)
				}
				// The step balances the error of the difference, of order h^2, with that of
				// rounding the results, of order 2^-24/h times their number's root: both are then
				// of order 1e-3.
				const h = 1.0 / 128
				for name, in := range c.inputs {
					for range 25 {
						i := r.IntN(len(in.Data))
						x := in.Data[i]
						in.Data[i] = x + h
						up := at()
						in.Data[i] = x - h
						down := at()
						in.Data[i] = x
						want := (up - down) / (2 * h)
						if math.Abs(want-float64(got[name][i])) > 4e-3*(1+math.Abs(want)) {
							t.Errorf("gradient of %s[%d] is %g, finite differences say %g", name, i, got[name][i], want)
						}
					}
				}
			})
		})
	}
}

// TestGradientsDoNotDependOnWorkers runs a branch with rows for several parts and blocks.
func TestGradientsDoNotDependOnWorkers(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	const n, d = 3 * 230, 100
	rows := Uniform(3, n/3)
	x := leaf(r, n, d)
	pw, pb := random(r, 3*d, d), random(r, 1, 3*d)
	w := NewTrainable(&Param{Value: pw.Data, Grad: make([]float32, 3*d*d)},
		&Param{Value: pb.Data, Grad: make([]float32, 3*d)}, 3*d, d)
	shift, scale := leaf(r, 3, d), leaf(r, 3, d)
	bias, places := leaf(r, 4, 2*n/3-1), make([]int32, n)
	for i := range places {
		places[i] = int32(i % (n / 3))
	}
	var first [][]float32
	for _, workers := range []int{1, 2, 8} {
		withGraph(t, workers, func(g *Graph) {
			grads := [][]float32{w.W.Grad, w.B.Grad, x.grad.Data, shift.grad.Data, scale.grad.Data, bias.grad.Data}
			for _, d := range grads {
				clear(d)
			}
			g.StartTape()
			qkv := g.Linear(g.LayerNormModulate(x, shift, scale, rows, 1e-6), w)
			out := g.Attention(AttentionInput{
				Heads: 4,
				Q:     g.Columns(qkv, 0, d), QRows: rows,
				K: g.Columns(qkv, d, 2*d), V: g.Columns(qkv, 2*d, 3*d), KRows: rows,
				Bias: bias, BiasOrigin: n/3 - 1, QPlace: places, KPlace: places,
			})
			g.AddGrad(out, out)
			g.Backward()
			if first == nil {
				for _, d := range grads {
					first = append(first, slices.Clone(d))
				}
			}
			for i, d := range grads {
				if !slices.Equal(d, first[i]) {
					t.Errorf("gradient %d of %d workers has other bits than of 1", i, workers)
				}
			}
		})
	}
	if fmt.Sprint(first[2][0]) == "0" {
		t.Error("no gradient reached the input")
	}
}

// TestFrozenParametersCostNothing checks that a frozen weight gets no gradient and costs no product
// for one.
func TestFrozenParametersCostNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	x := random(r, 20, 10)
	pw := random(r, 30, 10)
	frozen := NewTrainable(&Param{Value: pw.Data}, nil, 30, 10)
	withGraph(t, 1, func(g *Graph) {
		g.StartTape()
		g.Linear(x, frozen)
		if n := len(g.tape.backward); n != 0 {
			t.Errorf("%d operations recorded for a frozen weight and an input that requires no gradient", n)
		}
		g.RequireGrad(x)
		y := g.Linear(x, frozen)
		g.ResetFLOPs()
		g.AddGrad(y, y)
		g.Backward()
		if want := int64(2 * 20 * 10 * 30); g.FLOPs() != want {
			t.Errorf("the backward pass of a frozen weight took %d FLOPs, want %d", g.FLOPs(), want)
		}
		x.grad, x.requiresGrad = nil, false
	})
}
