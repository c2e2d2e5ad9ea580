package tensor

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
)

// rowOp is an operation that treats every row of its result by itself.
type rowOp struct {
	row   func(op *rowOp, i int)
	rows  split
	dst   *Tensor
	x     *Tensor
	a, b  *Tensor
	by    *Rows
	index []int32
	eps   float32

	element func(dst, x, dy []float32)
	samples bool        // the parts are samples of by, not rows
	call    func(i int) // see EachRow
}

// serialBelow is the number of elements below which dividing a row operation costs more than it gains.
const serialBelow = 1 << 13

func (g *Graph) byRow(op rowOp, dst *Tensor) *Tensor {
	parts := 1
	if dst.Rows*dst.Cols > serialBelow && g.Workers() > 1 {
		parts = g.Workers() * partsPerWorker
	}
	op.dst, op.rows = dst, newSplit(dst.Rows, 1, parts)
	g.ops.byRow = op
	if dst.Rows > 0 {
		g.run(&g.ops.byRow, op.rows.parts)
	}
	return dst
}

func (op *rowOp) run(part int, _ *worker) {
	lo, hi := op.rows.bounds(part)
	if op.samples {
		lo, hi = op.by.Start[lo], op.by.Start[hi]
	}
	for i := lo; i < hi; i++ {
		op.row(op, i)
	}
}

// LayerNormModulate normalises each row of x to mean 0 and variance 1 and returns it times 1 + scale plus shift; a row of sample s
// takes row s of shift and scale. The variance gains eps. With shift and scale nil it only normalises.
func (g *Graph) LayerNormModulate(x, shift, scale *Tensor, rows *Rows, eps float32) *Tensor {
	if shift != nil {
		mustMatch("shift", shift, rows.Samples(), x.Cols)
		mustMatch("scale", scale, rows.Samples(), x.Cols)
		if rows.Len() != x.Rows {
			panic(fmt.Sprintf("tensor: layer norm: %v has other rows than the %d that are divided among samples", x, rows.Len()))
		}
	}
	y := g.byRow(rowOp{x: x, a: shift, b: scale, by: rows, eps: eps, row: func(op *rowOp, i int) {
		if op.a == nil {
			kernel.LayerNormModulate(op.dst.Row(i), op.x.Row(i), nil, nil, op.eps)
			return
		}
		s := int(op.by.Sample[i])
		kernel.LayerNormModulate(op.dst.Row(i), op.x.Row(i), op.a.Row(s), op.b.Row(s), op.eps)
	}}, g.New(x.Rows, x.Cols))
	if g.recording(x, shift, scale) {
		g.record(y, func(dy *Tensor) { g.layerNormBack(x, shift, scale, rows, eps, dy) })
	}
	return y
}

// GateResidual adds gate * y to residual in place and returns it; a row of sample s takes row s of gate. While a tape records it
// leaves residual as it is and returns the sum.
func (g *Graph) GateResidual(residual, gate *Tensor, rows *Rows, y *Tensor) *Tensor {
	mustMatch("gate", gate, rows.Samples(), y.Cols)
	mustMatch("residual", residual, rows.Len(), y.Cols)
	mustMatch("branch output", y, residual.Rows, residual.Cols)
	out := residual
	if g.tape != nil {
		out = g.New(residual.Rows, residual.Cols)
	}
	g.byRow(rowOp{x: y, a: gate, b: residual, by: rows, row: func(op *rowOp, i int) {
		kernel.GateResidual(op.dst.Row(i), op.b.Row(i), op.a.Row(int(op.by.Sample[i])), op.x.Row(i))
	}}, out)
	if g.recording(residual, gate, y) {
		g.record(out, func(dout *Tensor) { g.gateResidualBack(residual, gate, rows, y, dout) })
	}
	return out
}

// SiLU returns x·sigmoid(x).
func (g *Graph) SiLU(x *Tensor) *Tensor {
	y := g.byRow(rowOp{x: x, row: func(op *rowOp, i int) { kernel.SiLU(op.dst.Row(i), op.x.Row(i)) }}, g.New(x.Rows, x.Cols))
	if g.recording(x) {
		g.record(y, func(dy *Tensor) { g.elementBack(kernel.SiLUGrad, x, dy) })
	}
	return y
}

// gelu returns GELU(x), the tanh form.
func (g *Graph) gelu(x *Tensor) *Tensor {
	y := g.byRow(rowOp{x: x, row: func(op *rowOp, i int) { kernel.GELU(op.dst.Row(i), op.x.Row(i)) }}, g.New(x.Rows, x.Cols))
	if g.recording(x) {
		g.record(y, func(dy *Tensor) { g.elementBack(kernel.GELUGrad, x, dy) })
	}
	return y
}

// Add returns a + b.
func (g *Graph) Add(a, b *Tensor) *Tensor {
	mustMatch("second term", b, a.Rows, a.Cols)
	y := g.byRow(rowOp{a: a, b: b, row: addRow}, g.New(a.Rows, a.Cols))
	if g.recording(a, b) {
		g.record(y, func(dy *Tensor) {
			g.AddGrad(a, dy)
			g.passGrad(b, dy)
		})
	}
	return y
}

// AddInto adds b to a in place and returns a. There is no way back through it.
func (g *Graph) AddInto(a, b *Tensor) *Tensor {
	g.mustNotRecord("AddInto", a, b)
	return g.addInto(a, b)
}

func (g *Graph) addInto(a, b *Tensor) *Tensor {
	mustMatch("second term", b, a.Rows, a.Cols)
	return g.byRow(rowOp{a: a, b: b, row: addRow}, a)
}

func addRow(op *rowOp, i int) { kernel.Add(op.dst.Row(i), op.a.Row(i), op.b.Row(i)) }

// AddCyclic adds to row i of x, in place, row i modulo table.Rows of table: the position embedding of a batch of whole grids. The gradient of x is the
// result's, so x must come of an operation that does not read its result on the way back.
func (g *Graph) AddCyclic(x, table *Tensor) *Tensor {
	g.byRow(rowOp{a: table, row: func(op *rowOp, i int) {
		kernel.Add(op.dst.Row(i), op.dst.Row(i), op.a.Row(i%op.a.Rows))
	}}, x)
	if g.recording(table) {
		g.record(x, func(dx *Tensor) {
			// Each row of the table is one part's, which adds the samples in their order.
			g.byRow(rowOp{a: dx, row: func(op *rowOp, i int) {
				for j := i; j < op.a.Rows; j += op.dst.Rows {
					kernel.Add(op.dst.Row(i), op.dst.Row(i), op.a.Row(j))
				}
			}}, g.Grad(table))
		})
	}
	return x
}

// Concat returns the rows of a and b side by side, [rows, a.Cols+b.Cols].
func (g *Graph) Concat(a, b *Tensor) *Tensor {
	mustMatch("right side", b, a.Rows, b.Cols)
	y := g.byRow(rowOp{a: a, b: b, row: func(op *rowOp, i int) {
		copy(op.dst.Row(i)[copy(op.dst.Row(i), op.a.Row(i)):], op.b.Row(i))
	}}, g.New(a.Rows, a.Cols+b.Cols))
	if g.recording(a, b) {
		g.record(y, func(dy *Tensor) {
			g.AddGrad(a, g.Columns(dy, 0, a.Cols))
			g.AddGrad(b, g.Columns(dy, a.Cols, dy.Cols))
		})
	}
	return y
}

// Transpose returns x with rows and columns exchanged.
func (g *Graph) Transpose(x *Tensor) *Tensor {
	y := g.New(x.Cols, x.Rows)
	kernel.Transpose(y.Data, y.Stride, x.Data, x.Stride, x.Rows, x.Cols)
	if g.recording(x) {
		g.record(y, func(dy *Tensor) {
			dx := g.Grad(x)
			m := g.Mark()
			d := g.New(x.Rows, x.Cols)
			kernel.Transpose(d.Data, d.Stride, dy.Data, dy.Stride, dy.Rows, dy.Cols)
			g.addInto(dx, d)
			g.Release(m)
		})
	}
	return y
}

// Copy returns a copy of x.
func (g *Graph) Copy(x *Tensor) *Tensor {
	y := g.byRow(rowOp{x: x, row: func(op *rowOp, i int) { copy(op.dst.Row(i), op.x.Row(i)) }}, g.New(x.Rows, x.Cols))
	if g.recording(x) {
		g.record(y, func(dy *Tensor) { g.passGrad(x, dy) })
	}
	return y
}

// Gather returns the rows of x that index names, in its order.
func (g *Graph) Gather(x *Tensor, index []int32) *Tensor {
	y := g.byRow(rowOp{x: x, index: index, row: func(op *rowOp, i int) {
		copy(op.dst.Row(i), op.x.Row(int(op.index[i])))
	}}, g.New(len(index), x.Cols))
	if g.recording(x) {
		g.record(y, func(dy *Tensor) {
			dx := g.Grad(x)
			for i, row := range index { // a row may be named twice
				kernel.Add(dx.Row(int(row)), dx.Row(int(row)), dy.Row(i))
			}
		})
	}
	return y
}

// Merge returns rows of a and of b: row i is row index[i] of a or, where index[i] is negative, row -1-index[i] of b.
func (g *Graph) Merge(a, b *Tensor, index []int32) *Tensor {
	mustMatch("second source of rows", b, b.Rows, a.Cols)
	y := g.byRow(rowOp{a: a, b: b, index: index, row: func(op *rowOp, i int) {
		if from := op.index[i]; from >= 0 {
			copy(op.dst.Row(i), op.a.Row(int(from)))
		} else {
			copy(op.dst.Row(i), op.b.Row(int(-1-from)))
		}
	}}, g.New(len(index), a.Cols))
	if g.recording(a, b) {
		g.record(y, func(dy *Tensor) { g.mergeBack(a, b, index, dy) })
	}
	return y
}

// Scatter sets the rows of dst that index names, which must differ, to the rows of x. There is no way back through it.
func (g *Graph) Scatter(dst *Tensor, index []int32, x *Tensor) {
	g.mustNotRecord("Scatter", dst, x)
	mustMatch("rows to scatter", x, len(index), dst.Cols)
	g.byRow(rowOp{a: dst, index: index, row: func(op *rowOp, i int) {
		copy(op.a.Row(int(op.index[i])), op.dst.Row(i))
	}}, x)
}

// Blend returns alpha*fresh + (1-alpha)*cached, with one alpha, in [0,1], for each row: [rows, 1].
func (g *Graph) Blend(alpha, fresh, cached *Tensor) *Tensor {
	mustMatch("alpha", alpha, fresh.Rows, 1)
	mustMatch("cached", cached, fresh.Rows, fresh.Cols)
	y := g.byRow(rowOp{x: alpha, a: fresh, b: cached, row: func(op *rowOp, i int) {
		kernel.Blend(op.dst.Row(i), op.x.Row(i)[0], op.a.Row(i), op.b.Row(i))
	}}, g.New(fresh.Rows, fresh.Cols))
	if g.recording(alpha, fresh, cached) {
		g.record(y, func(dy *Tensor) { g.blendBack(alpha, fresh, cached, dy) })
	}
	return y
}

// Sigmoid returns 1/(1+exp(-x)).
func (g *Graph) Sigmoid(x *Tensor) *Tensor {
	y := g.byRow(rowOp{x: x, row: func(op *rowOp, i int) {
		dst := op.dst.Row(i) // (1+tanh(x/2))/2
		kernel.Scale(dst, op.x.Row(i), 0.5)
		kernel.Tanh(dst, dst)
		for j, v := range dst {
			dst[j] = 0.5 + 0.5*v
		}
	}}, g.New(x.Rows, x.Cols))
	if g.recording(x) {
		g.record(y, func(dy *Tensor) {
			g.byRow(rowOp{x: y, a: dy, row: func(op *rowOp, i int) {
				dx, s, d := op.dst.Row(i), op.x.Row(i), op.a.Row(i)
				for j := range dx {
					dx[j] += d[j] * s[j] * (1 - s[j])
				}
			}}, g.Grad(x))
		})
	}
	return y
}

// Reshape returns a copy of x, whose rows lie one behind the other, in rows of another length.
func (g *Graph) Reshape(x *Tensor, rows, cols int) *Tensor {
	if rows*cols != x.Rows*x.Cols {
		panic(fmt.Sprintf("tensor: %v cannot have the shape [%d %d]", x, rows, cols))
	}
	y := g.New(rows, cols)
	copyFlat(y, x)
	if g.recording(x) {
		g.record(y, func(dy *Tensor) {
			d := g.New(x.Rows, x.Cols)
			copyFlat(d, dy)
			g.passGrad(x, d)
		})
	}
	return y
}

// copyFlat copies the elements of src, row by row, to dst, a contiguous matrix.
func copyFlat(dst, src *Tensor) {
	to := dst.Flat()
	for i := range src.Rows {
		copy(to[i*src.Cols:], src.Row(i))
	}
}

const logMaxPeriod float32 = 9.210340371976184 // log(10000)

// TimestepEmbedding returns for each timestep, a whole or fractional number, the cosines and then the sines of it at width/2
// frequencies that fall geometrically from 1: [len(t), width]. The last one is 1/10000 with shift 1, as in diffusers, and
// with shift 0, as in DiT, would be reached one further on. An odd width ends in a 0.
func (g *Graph) TimestepEmbedding(t []float32, width, shift int) *Tensor {
	y := g.New(len(t), width)
	half := width / 2
	for i, t := range t {
		row := y.Row(i)
		row[width-1] = 0
		for j := range half {
			// Frequencies and angles are rounded to float32 as PyTorch rounds them: at t = 999 the angle's rounding shows.
			f := float32(math.Exp(float64(-logMaxPeriod * float32(j) / float32(half-shift))))
			s, c := math.Sincos(float64(t * f))
			row[j], row[half+j] = float32(c), float32(s)
		}
	}
	return y
}

// EachRow calls f for 0..n-1, in parallel where n rows of the given width are worth it: for operations that are a caller's own. Calls must not depend
// on one another. There is no way back through it.
func (g *Graph) EachRow(n, width int, f func(i int)) {
	parts := 1
	if n*width > serialBelow && g.Workers() > 1 {
		parts = g.Workers() * partsPerWorker
	}
	g.ops.byRow = rowOp{call: f, rows: newSplit(n, 1, parts), row: func(op *rowOp, i int) { op.call(i) }}
	if n > 0 {
		g.run(&g.ops.byRow, g.ops.byRow.rows.parts)
	}
}
