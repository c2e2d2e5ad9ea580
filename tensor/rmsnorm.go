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
	y := g.byRow(rowOp{x: x, scale: weight, eps: eps, row: func(op *rowOp, i int) {
		w := op.scale.Row(0)
		for c := 0; c < op.x.Cols; c += len(w) {
			x, y := op.x.Row(i)[c:][:len(w)], op.dst.Row(i)[c:][:len(w)]
			kernel.Scale(y, x, inverseRMS(x, op.eps))
			kernel.Mul(y, y, w)
		}
	}}, g.New(x.Rows, x.Cols))
	if g.recording(x, weight) {
		g.record(y, func(dy *Tensor) { g.rmsNormBackward(x, weight, eps, dy) })
	}
	return y
}

func inverseRMS(x []float32, eps float32) float32 {
	return float32(1 / math.Sqrt(float64(kernel.SumSquares(x))/float64(len(x))+float64(eps)))
}

// normGradBlocks is the number of blocks of rows whose share of a weight's gradient is added up
// separately: the same for any number of workers.
const normGradBlocks = 16

// rmsNormBackward is the backward pass of y = x·w·s with s = 1/sqrt(mean(x²)+eps):
//
//	dx = s·(w·dy - x·s²·mean(x·w·dy))    dw = sum of x·s·dy over all groups and rows
func (g *Graph) rmsNormBackward(x, weight *Tensor, eps float32, dy *Tensor) {
	if x.requiresGrad {
		dx := g.Grad(x)
		m := g.Mark()
		wdy := g.New(x.Rows, x.Cols)
		g.byRow(rowOp{x: x, y: wdy, dy: dy, scale: weight, eps: eps, row: func(op *rowOp, i int) {
			w := op.scale.Row(0)
			for c := 0; c < op.x.Cols; c += len(w) {
				x, d := op.x.Row(i)[c:][:len(w)], op.y.Row(i)[c:][:len(w)]
				kernel.Mul(d, op.dy.Row(i)[c:][:len(w)], w)
				s := inverseRMS(x, op.eps)
				dx := op.dst.Row(i)[c:][:len(w)]
				kernel.AXPY(dx, s, d)
				kernel.AXPY(dx, -s*s*s*kernel.Dot(x, d)/float32(len(w)), x)
			}
		}}, dx)
		g.Release(m)
	}
	if !weight.requiresGrad {
		return
	}
	dw := g.Grad(weight)
	m := g.Mark()
	parts := g.New(normGradBlocks, 2*weight.Cols) // the sums, and a row to work in
	clear(parts.Data)
	rows := newSplit(x.Rows, 1, normGradBlocks)
	g.EachRow(rows.parts, (x.Rows/rows.parts+1)*x.Cols, func(part int) {
		width := weight.Cols
		sum, scratch := parts.Row(part)[:width], parts.Row(part)[width:]
		lo, hi := rows.bounds(part)
		for i := lo; i < hi; i++ {
			for c := 0; c < x.Cols; c += width {
				group := x.Row(i)[c:][:width]
				kernel.Mul(scratch, group, dy.Row(i)[c:][:width])
				kernel.AXPY(sum, inverseRMS(group, eps), scratch)
			}
		}
	})
	for part := range rows.parts {
		kernel.Add(dw.Row(0), dw.Row(0), parts.Row(part)[:weight.Cols])
	}
	g.Release(m)
}
