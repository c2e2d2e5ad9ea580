package tensor

import (
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
)

// elementBackward adds f(x, dy), an element-wise function's derivative at x times dy, to x's
// gradient.
func (g *Graph) elementBackward(f func(dst, x, dy []float32), x, dy *Tensor) {
	m := g.Mark()
	d := g.New(x.Rows, x.Cols)
	op := rowOp{x: x, dy: dy, element: f, row: func(op *rowOp, i int) {
		op.element(op.dst.Row(i), op.x.Row(i), op.dy.Row(i))
	}}
	if x.grad == nil && x.base == nil {
		x.grad = g.byRow(op, d)
		return // the memory is x's gradient now
	}
	g.AddGrad(x, g.byRow(op, d))
	g.Release(m)
}

// gateResidualBackward is the backward pass of out = residual + gate*y: the residual's gradient is
// dout, y's is gate*dout, and the gate's is the sum of y*dout over the rows of its sample.
func (g *Graph) gateResidualBackward(residual, gate *Tensor, rows *Rows, y, dout *Tensor) {
	if gate.requiresGrad {
		dgate := g.Grad(gate)
		g.bySample(rows, rowOp{y: y, dy: dout, by: rows, row: func(op *rowOp, i int) {
			kernel.MulAdd(op.dst.Row(int(op.by.Sample[i])), op.y.Row(i), op.dy.Row(i))
		}}, dgate)
	}
	if y.requiresGrad {
		dy := g.Grad(y)
		g.byRow(rowOp{gate: gate, dy: dout, by: rows, row: func(op *rowOp, i int) {
			kernel.MulAdd(op.dst.Row(i), op.gate.Row(int(op.by.Sample[i])), op.dy.Row(i))
		}}, dy)
	}
	g.passGrad(residual, dout)
}

// blendBackward is the backward pass of y = alpha*fresh + (1-alpha)*cached: dalpha is the sum over
// a row of dy*(fresh-cached).
func (g *Graph) blendBackward(alpha, fresh, cached, dy *Tensor) {
	if alpha.requiresGrad {
		g.byRow(rowOp{fresh: fresh, cached: cached, dy: dy, row: func(op *rowOp, i int) {
			op.dst.Row(i)[0] += kernel.Dot(op.dy.Row(i), op.fresh.Row(i)) - kernel.Dot(op.dy.Row(i), op.cached.Row(i))
		}}, g.Grad(alpha))
	}
	if fresh.requiresGrad {
		g.byRow(rowOp{alpha: alpha, dy: dy, row: func(op *rowOp, i int) {
			kernel.AXPY(op.dst.Row(i), op.alpha.Row(i)[0], op.dy.Row(i))
		}}, g.Grad(fresh))
	}
	if cached.requiresGrad {
		g.byRow(rowOp{alpha: alpha, dy: dy, row: func(op *rowOp, i int) {
			kernel.AXPY(op.dst.Row(i), 1-op.alpha.Row(i)[0], op.dy.Row(i))
		}}, g.Grad(cached))
	}
}

// mergeBackward is the backward pass of Merge. If an index occurs several times, its gradients are
// added in their order.
func (g *Graph) mergeBackward(a, b *Tensor, index []int32, dy *Tensor) {
	var da, db *Tensor
	if a.requiresGrad {
		da = g.Grad(a)
	}
	if b.requiresGrad {
		db = g.Grad(b)
	}
	for i, from := range index {
		d := da
		if from < 0 {
			d, from = db, -1-from
		}
		if d != nil {
			kernel.Add(d.Row(int(from)), d.Row(int(from)), dy.Row(i))
		}
	}
}

// bySample runs op.row for every row, dividing the work by samples, so that one worker adds up a
// sample's rows in their order.
func (g *Graph) bySample(rows *Rows, op rowOp, dst *Tensor) {
	op.dst, op.rows = dst, newSplit(rows.Samples(), 1, g.Workers()*partsPerWorker)
	op.samples = true
	g.ops.byRow = op
	g.run(&g.ops.byRow, op.rows.parts)
}

// normGradOp is the backward pass of layer norm and modulation, y = n·(1+scale) + shift with
// n = (x-mean)/sqrt(variance+eps), a sample at a time:
//
//	dn = dy·(1+scale)    dx = (dn - mean(dn) - n·mean(dn·n)) / sqrt(variance+eps)
//	dshift = sum of dy   dscale = sum of dy·n, over the sample's rows
type normGradOp struct {
	x, dy, scale       *Tensor
	dx, dshift, dscale *Tensor // nil if not required
	by                 *Rows
	eps                float32
	samples            split
}

func (g *Graph) layerNormBackward(x, shift, scale *Tensor, rows *Rows, eps float32, dy *Tensor) {
	op := &g.ops.normGrad
	*op = normGradOp{x: x, dy: dy, scale: scale, by: rows, eps: eps}
	if x.requiresGrad {
		op.dx = g.Grad(x)
	}
	if shift != nil && shift.requiresGrad {
		op.dshift = g.Grad(shift)
	}
	if scale != nil && scale.requiresGrad {
		op.dscale = g.Grad(scale)
	}
	op.samples = newSplit(rows.Samples(), 1, g.Workers()*partsPerWorker)
	g.run(op, op.samples.parts)
}

func (op *normGradOp) run(part int, w *worker) {
	lo, hi := op.samples.bounds(part)
	width := op.x.Cols
	floats := w.floats(3 * width)
	n, dn, ones := floats[:width], floats[width:2*width], floats[2*width:]
	for i := range ones {
		ones[i] = 1
	}
	for s := lo; s < hi; s++ {
		for i := op.by.Start[s]; i < op.by.Start[s+1]; i++ {
			x, dy := op.x.Row(i), op.dy.Row(i)
			kernel.LayerNormModulate(n, x, nil, nil, op.eps)
			if op.dshift != nil {
				kernel.Add(op.dshift.Row(s), op.dshift.Row(s), dy)
			}
			if op.dscale != nil {
				kernel.MulAdd(op.dscale.Row(s), dy, n)
			}
			if op.dx == nil {
				continue
			}
			copy(dn, dy)
			if op.scale != nil {
				kernel.MulAdd(dn, dy, op.scale.Row(s))
			}
			// n·n = variance/(variance+eps) and n·x = variance/sqrt(variance+eps), both times the
			// width.
			inverse := float32(1 / math.Sqrt(float64(op.eps)))
			if nx := kernel.Dot(n, x); nx > 0 {
				inverse = kernel.SumSquares(n) / nx
			}
			dx := op.dx.Row(i)
			kernel.AXPY(dx, inverse, dn)
			kernel.AXPY(dx, -inverse*kernel.Sum(dn)/float32(width), ones)
			kernel.AXPY(dx, -inverse*kernel.Dot(dn, n)/float32(width), n)
		}
	}
}
