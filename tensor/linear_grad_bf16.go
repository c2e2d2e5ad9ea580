package tensor

import "github.com/tokencache/tokencache/internal/kernel"

// linearBackwardBF16 is linearBackward with products of bfloat16. What they need of dy and x, by
// rows and by columns, is converted in one go, a chunk of rows at a time, while those are in the
// cache.
func (g *Graph) linearBackwardBF16(x *Tensor, w *Weight, dy *Tensor) {
	var dx *Tensor
	var fresh bool
	if x.requiresGrad {
		dx, fresh = g.gradToSet(x)
	}
	m := g.Mark()
	op := &g.ops.narrowGrad
	op.begin(g, x, w, dy)
	op.stage, op.split = op.convert, newSplit((x.Rows+gradChunk-1)/gradChunk, 1, x.Rows)
	g.run(op, op.split.parts)
	if dx != nil {
		g.multiply(kernel.Gemm{B: &w.transposed, X: &op.rows, Accumulate: !fresh}, dy, dx)
	}
	if op.sums != nil {
		for chunk := range op.sums.Rows {
			kernel.Add(w.B.Grad, w.B.Grad, op.sums.Row(chunk))
		}
	}
	if len(op.blocks) > 0 {
		panels := op.blocks[0].x.Panels()
		op.stage, op.split = op.multiply, newSplit(panels, 1, panels)
		g.run(op, op.split.parts)
		g.count(2 * int64(x.Rows) * int64(w.In) * int64(w.Out))
	}
	g.Release(m)
}

// gradChunk is the number of rows that are converted together.
const gradChunk = 64

// narrowGradOp converts the operands of the backward pass of a linear map, divided over chunks of
// rows, and computes the matrix's gradient, divided over inputs.
type narrowGradOp struct {
	x, dy  *Tensor
	w      *Param
	rows   kernel.Converted // dy
	blocks []gradBlock      // none if the matrix is frozen
	sums   *Tensor          // of each chunk of dy's rows, or nil
	split  split
	stage  func(lo, hi int, w *worker)
}

// gradBlock holds the operands of the product of gradRows rows, or of the rest: dyᵀ and x.
type gradBlock struct {
	across kernel.Converted
	x      kernel.Packed
}

// begin describes the backward pass of y = x·Wᵀ + b and takes memory for it.
func (op *narrowGradOp) begin(g *Graph, x *Tensor, w *Weight, dy *Tensor) {
	*op = narrowGradOp{x: x, dy: dy, w: w.W, blocks: op.blocks[:0]}
	if x.requiresGrad {
		mem := g.floats.get(kernel.ConvertedLen(&w.transposed, dy.Rows))
		op.rows = kernel.NewConverted(mem, &w.transposed, dy.Rows)
	}
	if w.B != nil && w.B.Grad != nil {
		op.sums = g.New((x.Rows+gradChunk-1)/gradChunk, w.Out)
		clear(op.sums.Data)
	}
	for r := 0; r < x.Rows && w.W.Grad != nil; r += gradRows {
		rows := min(gradRows, x.Rows-r)
		op.blocks = append(op.blocks, gradBlock{
			kernel.NewColumns(g.floats.get(kernel.ColumnsLen(w.Out, rows)), w.Out, rows),
			kernel.PackedWords(BF16, g.floats.get(kernel.WordsLen(BF16, w.In, rows)), w.In, rows),
		})
	}
}

func (op *narrowGradOp) run(part int, w *worker) {
	lo, hi := op.split.bounds(part)
	op.stage(lo, hi, w)
}

// convert converts chunks of rows.
func (op *narrowGradOp) convert(lo, hi int, w *worker) {
	for chunk := lo; chunk < hi; chunk++ {
		r0, r1 := chunk*gradChunk, min((chunk+1)*gradChunk, op.dy.Rows)
		if op.x.requiresGrad {
			op.rows.Rows(op.dy.Data, op.dy.Stride, r0, r1)
		}
		if op.sums != nil {
			sum := op.sums.Row(chunk)
			for r := r0; r < r1; r++ {
				kernel.Add(sum, sum, op.dy.Row(r))
			}
		}
		if len(op.blocks) == 0 {
			continue
		}
		b := &op.blocks[r0/gradRows]
		first := r0 / gradRows * gradRows
		scratch := w.floats(b.across.ColumnsScratch(gradChunk))
		b.across.Columns(scratch, op.dy.from(first), op.dy.Stride, r0-first, r1-first)
		b.x.PackInputs(op.x.from(first), op.x.Stride, r0-first, r1-first)
	}
}

// multiply adds the products of all blocks, for panels of inputs, to the matrix's gradient.
func (op *narrowGradOp) multiply(lo, hi int, w *worker) {
	for i := range op.blocks {
		b := &op.blocks[i]
		gemm := kernel.Gemm{
			X: &b.across, M: op.dy.Cols, B: &b.x,
			Accumulate: true, C: op.w.Grad, LDC: op.x.Cols,
		}
		gemm.Run(w.floats(kernel.GemmScratch), 0, op.dy.Cols, lo, hi)
	}
}
