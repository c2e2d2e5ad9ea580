package tensor

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
)

// RMSNorm divides each group of columns of x by its root mean square and multiplies it by weight,
// [1, width]: x·weight/sqrt(mean(x²)+eps). A group has as many columns as weight, so that weights
// of the width of a head normalise every head alone.
func (g *Graph) RMSNorm(x, weight *Tensor, eps float32) *Tensor {
	mustMatch("weight of the norm", weight, 1, weight.Cols)
	if x.Cols%weight.Cols != 0 {
		panic(fmt.Sprintf("tensor: RMS norm: input is %v, a group has %d columns", x, weight.Cols))
	}
	var inverses *Tensor // of every group, for the backward pass
	if g.recording(x, weight) {
		inverses = g.New(x.Rows, x.Cols/weight.Cols)
	}
	y := g.byRow(rowOp{x: x, y: inverses, scale: weight, eps: eps, row: func(op *rowOp, i int) {
		w := op.scale.Row(0)
		for c := 0; c < op.x.Cols; c += len(w) {
			x := op.x.Row(i)[c:][:len(w)]
			inverse := inverseRMS(x, op.eps)
			if op.y != nil {
				op.y.Row(i)[c/len(w)] = inverse
			}
			kernel.ScaleMul(op.dst.Row(i)[c:][:len(w)], x, w, inverse)
		}
	}}, g.New(x.Rows, x.Cols))
	if inverses != nil {
		g.record(y, func(dy *Tensor) { g.rmsNormBackward(x, weight, inverses, dy) })
	}
	return y
}

func inverseRMS(x []float32, eps float32) float32 {
	return float32(1 / math.Sqrt(float64(kernel.SumSquares(x))/float64(len(x))+float64(eps)))
}

// normGradBlocks is the number of blocks of rows whose share of a weight's gradient is added up
// separately: the same for any number of workers.
const normGradBlocks = 16

// rmsNormBackward is the backward pass of y = x·w·s with s = 1/sqrt(mean(x²)+eps), the inverse of a
// group: see kernel.RMSNormGrad.
func (g *Graph) rmsNormBackward(x, weight, inverses, dy *Tensor) {
	var dx *Tensor
	var fresh bool
	if x.requiresGrad {
		dx, fresh = g.gradToSet(x)
	}
	m := g.Mark()
	parts := g.New(normGradBlocks, weight.Cols+x.Cols) // the sums, and a row in place of dx
	clear(parts.Data)
	rows := newSplit(x.Rows, 1, normGradBlocks)
	g.EachRow(rows.parts, (x.Rows/rows.parts+1)*x.Cols, func(part int) {
		width := weight.Cols
		sum, row := parts.Row(part)[:width], parts.Row(part)[width:]
		lo, hi := rows.bounds(part)
		for i := lo; i < hi; i++ {
			if dx != nil {
				row = dx.Row(i)
			}
			if fresh {
				clear(row)
			}
			for j, inverse := range inverses.Row(i) {
				c := j * width
				kernel.RMSNormGrad(row[c:][:width], sum, x.Row(i)[c:][:width], dy.Row(i)[c:][:width],
					weight.Row(0), inverse)
			}
		}
	})
	if weight.requiresGrad {
		dw := g.Grad(weight)
		for part := range rows.parts {
			kernel.Add(dw.Row(0), dw.Row(0), parts.Row(part)[:weight.Cols])
		}
	}
	g.Release(m)
}
