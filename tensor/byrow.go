package tensor

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
)

// rowOp is an operation that computes each row of its result independently of the others. It is
// a struct that the Graph keeps, and row a function that captures nothing, so that running one
// allocates nothing: operands are the fields below, each operation using those it needs.
type rowOp struct {
	row  func(op *rowOp, i int) // computes row i of dst
	rows split
	dst  *Tensor

	x, y, dy             *Tensor
	gate, residual       *Tensor
	shift, scale         *Tensor
	alpha, fresh, cached *Tensor
	table                *Tensor
	by                   *Rows
	index                []int32
	eps                  float32
	element              func(dst, x, dy []float32)
	call                 func(i int) // of EachRow

	samples bool // the parts are samples of by, not rows of dst
}

// serialBelow is the number of elements below which dividing a row operation costs more than it
// gains.
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

// LayerNormModulate normalises each row of x to mean 0 and variance 1 and returns it times 1 +
// scale plus shift; a row of sample s takes row s of shift and scale. Eps is added to the variance.
// With shift and scale nil it only normalises.
func (g *Graph) LayerNormModulate(x, shift, scale *Tensor, rows *Rows, eps float32) *Tensor {
	if shift != nil {
		mustMatch("shift", shift, rows.Samples(), x.Cols)
		mustMatch("scale", scale, rows.Samples(), x.Cols)
		if rows.Len() != x.Rows {
			panic(fmt.Sprintf("tensor: layer norm: input is %v, the samples have %d rows", x, rows.Len()))
		}
	}
	y := g.byRow(rowOp{x: x, shift: shift, scale: scale, by: rows, eps: eps, row: func(op *rowOp, i int) {
		if op.scale == nil {
			kernel.LayerNormModulate(op.dst.Row(i), op.x.Row(i), nil, nil, op.eps)
			return
		}
		s := int(op.by.Sample[i])
		kernel.LayerNormModulate(op.dst.Row(i), op.x.Row(i), op.shift.Row(s), op.scale.Row(s), op.eps)
	}}, g.New(x.Rows, x.Cols))
	if g.recording(x, shift, scale) {
		g.record(y, func(dy *Tensor) { g.layerNormBackward(x, shift, scale, rows, eps, dy) })
	}
	return y
}

// GateResidual adds gate * y to residual in place and returns it; a row of sample s takes row s of
// gate. While a tape records it leaves residual alone and returns the sum.
func (g *Graph) GateResidual(residual, gate *Tensor, rows *Rows, y *Tensor) *Tensor {
	mustMatch("gate", gate, rows.Samples(), y.Cols)
	mustMatch("residual", residual, rows.Len(), y.Cols)
	mustMatch("branch output", y, residual.Rows, residual.Cols)
	out := residual
	if g.tape != nil {
		out = g.New(residual.Rows, residual.Cols)
	}
	g.byRow(rowOp{y: y, gate: gate, residual: residual, by: rows, row: func(op *rowOp, i int) {
		kernel.GateResidual(op.dst.Row(i), op.residual.Row(i), op.gate.Row(int(op.by.Sample[i])), op.y.Row(i))
	}}, out)
	if g.recording(residual, gate, y) {
		g.record(out, func(dout *Tensor) { g.gateResidualBackward(residual, gate, rows, y, dout) })
	}
	return out
}

// SiLU returns x·sigmoid(x).
func (g *Graph) SiLU(x *Tensor) *Tensor {
	y := g.byRow(rowOp{x: x, row: func(op *rowOp, i int) {
		kernel.SiLU(op.dst.Row(i), op.x.Row(i))
	}}, g.New(x.Rows, x.Cols))
	if g.recording(x) {
		g.record(y, func(dy *Tensor) { g.elementBackward(kernel.SiLUGrad, x, dy) })
	}
	return y
}

// gelu returns GELU(x), the tanh form.
func (g *Graph) gelu(x *Tensor) *Tensor {
	y := g.byRow(rowOp{x: x, row: func(op *rowOp, i int) {
		kernel.GELU(op.dst.Row(i), op.x.Row(i))
	}}, g.New(x.Rows, x.Cols))
	if g.recording(x) {
		g.record(y, func(dy *Tensor) { g.elementBackward(kernel.GELUGrad, x, dy) })
	}
	return y
}

// Add returns a + b.
func (g *Graph) Add(a, b *Tensor) *Tensor {
	mustMatch("second term", b, a.Rows, a.Cols)
	y := g.byRow(rowOp{x: a, y: b, row: addRow}, g.New(a.Rows, a.Cols))
	if g.recording(a, b) {
		g.record(y, func(dy *Tensor) {
			g.AddGrad(a, dy)
			g.passGrad(b, dy)
		})
	}
	return y
}

// Mul returns a · b, element by element.
func (g *Graph) Mul(a, b *Tensor) *Tensor {
	mustMatch("second factor", b, a.Rows, a.Cols)
	y := g.byRow(rowOp{x: a, y: b, row: func(op *rowOp, i int) {
		kernel.Mul(op.dst.Row(i), op.x.Row(i), op.y.Row(i))
	}}, g.New(a.Rows, a.Cols))
	if g.recording(a, b) {
		g.record(y, func(dy *Tensor) {
			for _, x := range [2][2]*Tensor{{a, b}, {b, a}} {
				if x[0].requiresGrad {
					g.byRow(rowOp{x: x[1], dy: dy, row: func(op *rowOp, i int) {
						kernel.MulAdd(op.dst.Row(i), op.x.Row(i), op.dy.Row(i))
					}}, g.Grad(x[0]))
				}
			}
		})
	}
	return y
}

// AddInto adds b to a in place and returns a. It has no backward pass.
func (g *Graph) AddInto(a, b *Tensor) *Tensor {
	g.mustNotRecord("AddInto", a, b)
	return g.addInto(a, b)
}

func (g *Graph) addInto(a, b *Tensor) *Tensor {
	mustMatch("second term", b, a.Rows, a.Cols)
	return g.byRow(rowOp{x: a, y: b, row: addRow}, a)
}

func addRow(op *rowOp, i int) { kernel.Add(op.dst.Row(i), op.x.Row(i), op.y.Row(i)) }

// AddCyclic adds row i modulo table.Rows of table to row i of x in place: the position embedding of
// a batch of whole grids. The gradient of x is the result's, so the operation that made x must not
// read its result in the backward pass.
func (g *Graph) AddCyclic(x, table *Tensor) *Tensor {
	g.byRow(rowOp{table: table, row: func(op *rowOp, i int) {
		kernel.Add(op.dst.Row(i), op.dst.Row(i), op.table.Row(i%op.table.Rows))
	}}, x)
	if g.recording(table) {
		x.inPlace = true
		g.record(x, func(dx *Tensor) {
			// One part computes a row of the table's gradient, adding the samples in their order.
			g.byRow(rowOp{dy: dx, row: func(op *rowOp, i int) {
				for j := i; j < op.dy.Rows; j += op.dst.Rows {
					kernel.Add(op.dst.Row(i), op.dst.Row(i), op.dy.Row(j))
				}
			}}, g.Grad(table))
		})
	}
	return x
}

// Concat returns each row of a followed by that of b, [rows, a.Cols+b.Cols].
func (g *Graph) Concat(a, b *Tensor) *Tensor {
	mustMatch("right side", b, a.Rows, b.Cols)
	y := g.byRow(rowOp{x: a, y: b, row: func(op *rowOp, i int) {
		copy(op.dst.Row(i)[copy(op.dst.Row(i), op.x.Row(i)):], op.y.Row(i))
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

// Gather returns rows index of x: row i of the result is row index[i].
func (g *Graph) Gather(x *Tensor, index []int32) *Tensor {
	y := g.byRow(rowOp{x: x, index: index, row: func(op *rowOp, i int) {
		copy(op.dst.Row(i), op.x.Row(int(op.index[i])))
	}}, g.New(len(index), x.Cols))
	if g.recording(x) {
		g.record(y, func(dy *Tensor) {
			dx := g.Grad(x)
			for i, row := range index { // an index may occur twice
				kernel.Add(dx.Row(int(row)), dx.Row(int(row)), dy.Row(i))
			}
		})
	}
	return y
}

// Merge returns rows of a and of b: row i is row index[i] of a or, where index[i] is negative, row
// -1-index[i] of b.
func (g *Graph) Merge(a, b *Tensor, index []int32) *Tensor {
	mustMatch("second source of rows", b, b.Rows, a.Cols)
	y := g.byRow(rowOp{x: a, y: b, index: index, row: func(op *rowOp, i int) {
		if from := op.index[i]; from >= 0 {
			copy(op.dst.Row(i), op.x.Row(int(from)))
		} else {
			copy(op.dst.Row(i), op.y.Row(int(-1-from)))
		}
	}}, g.New(len(index), a.Cols))
	if g.recording(a, b) {
		g.record(y, func(dy *Tensor) { g.mergeBackward(a, b, index, dy) })
	}
	return y
}

// Scatter sets row index[i] of dst to row i of x. The indices must differ. It has no backward pass.
func (g *Graph) Scatter(dst *Tensor, index []int32, x *Tensor) {
	g.mustNotRecord("Scatter", dst, x)
	mustMatch("rows to scatter", x, len(index), dst.Cols)
	// The work is divided over the rows of x, which are read here: byRow's dst only sets their
	// number.
	g.byRow(rowOp{x: x, y: dst, index: index, row: func(op *rowOp, i int) {
		copy(op.y.Row(int(op.index[i])), op.x.Row(i))
	}}, x)
}

// Blend returns alpha*fresh + (1-alpha)*cached, with one alpha, in [0,1], for each row: [rows, 1].
func (g *Graph) Blend(alpha, fresh, cached *Tensor) *Tensor {
	mustMatch("alpha", alpha, fresh.Rows, 1)
	mustMatch("cached", cached, fresh.Rows, fresh.Cols)
	y := g.byRow(rowOp{alpha: alpha, fresh: fresh, cached: cached, row: func(op *rowOp, i int) {
		kernel.Blend(op.dst.Row(i), op.alpha.Row(i)[0], op.fresh.Row(i), op.cached.Row(i))
	}}, g.New(fresh.Rows, fresh.Cols))
	if g.recording(alpha, fresh, cached) {
		g.record(y, func(dy *Tensor) { g.blendBackward(alpha, fresh, cached, dy) })
	}
	return y
}

// StraightThrough returns hard in place of soft, of as many elements, and passes its gradient on to
// soft as if they were equal.
func (g *Graph) StraightThrough(soft *Tensor, hard []float32) *Tensor {
	if len(hard) != soft.Rows*soft.Cols {
		panic(fmt.Sprintf("tensor: %d hard values for %v", len(hard), soft))
	}
	y := g.New(soft.Rows, soft.Cols)
	copy(y.Flat(), hard)
	if g.recording(soft) {
		g.record(y, func(dy *Tensor) { g.AddGrad(soft, dy) })
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
			g.byRow(rowOp{y: y, dy: dy, row: func(op *rowOp, i int) {
				dx, s, d := op.dst.Row(i), op.y.Row(i), op.dy.Row(i)
				for j := range dx {
					dx[j] += d[j] * s[j] * (1 - s[j])
				}
			}}, g.Grad(x))
		})
	}
	return y
}

// Reshape returns a copy of x's elements, row by row, as a rows x cols matrix.
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

// TimestepEmbedding returns, for each whole or fractional timestep, its cosines and then its sines
// at width/2 frequencies that fall geometrically from 1: [len(t), width]. Frequency j is
// 10000^(-j/(width/2-shift)): shift is 1 in diffusers, 0 in DiT. An odd width ends in a 0.
func (g *Graph) TimestepEmbedding(t []float32, width, shift int) *Tensor {
	y := g.New(len(t), width)
	half := width / 2
	for i, t := range t {
		row := y.Row(i)
		row[width-1] = 0
		for j := range half {
			// Frequencies and angles are rounded to float32 as PyTorch rounds them: at t = 999 the
			// angle's rounding shows.
			f := float32(math.Exp(float64(-logMaxPeriod * float32(j) / float32(half-shift))))
			s, c := math.Sincos(float64(t * f))
			row[j], row[half+j] = float32(c), float32(s)
		}
	}
	return y
}

// EachRow calls f for 0..n-1, in parallel if n rows of the given width are worth it: for operations
// of the caller's. Calls must not depend on one another. It has no backward pass.
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
