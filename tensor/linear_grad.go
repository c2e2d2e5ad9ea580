package tensor

import "github.com/tokencache/tokencache/internal/kernel"

// linearBackward adds to the gradients of x, W and b, where required: dx = dy·W, dW = dyᵀ·x, db =
// the sum of dy's rows.
func (g *Graph) linearBackward(x *Tensor, w *Weight, dy *Tensor) {
	if x.requiresGrad && w.W == nil {
		panic("tensor: backward pass through a Weight that is not trainable")
	}
	if x.requiresGrad && x.Rows == 0 {
		g.gradToSet(x)
	}
	if x.Rows == 0 {
		return
	}
	if w.trained == BF16 {
		g.linearBackwardBF16(x, w, dy)
		return
	}
	if x.requiresGrad {
		dx, fresh := g.gradToSet(x)
		g.multiply(kernel.Gemm{B: &w.transposed, Accumulate: !fresh}, dy, dx)
	}
	if !w.trains() {
		return
	}
	m := g.Mark()
	op := &g.ops.weightGrad
	*op = weightGradOp{x: x, dy: dy, across: g.New(w.Out, x.Rows), w: w.W, b: w.B}
	op.stage, op.split = op.transpose, newSplit(w.Out, 16, g.Workers()*partsPerWorker)
	g.run(op, op.split.parts)
	if w.W.Grad != nil {
		op.stage, op.split = op.multiply, newSplit(w.In, gradColumns, w.In)
		g.run(op, op.split.parts)
		g.count(2 * int64(x.Rows) * int64(w.In) * int64(w.Out))
	}
	g.Release(m)
}

// weightGradOp computes the gradients of a linear map's parameters: first dyᵀ and the bias's,
// divided over outputs, then the matrix's, divided over inputs. Rows are taken gradRows at a time,
// so that a part's operands stay in its core's cache.
type weightGradOp struct {
	x, dy  *Tensor
	across *Tensor // dyᵀ
	w, b   *Param
	split  split
	stage  func(lo, hi int, w *worker)
}

const (
	gradColumns = 48  // inputs of a part
	gradRows    = 512 // rows of a block
)

func (op *weightGradOp) run(part int, w *worker) {
	lo, hi := op.split.bounds(part)
	op.stage(lo, hi, w)
}

func (op *weightGradOp) transpose(lo, hi int, _ *worker) {
	rows := op.dy.Rows
	kernel.Transpose(op.across.from(lo), op.across.Stride, op.dy.Data[lo:], op.dy.Stride, rows, hi-lo)
	if op.b != nil && op.b.Grad != nil {
		for o := lo; o < hi; o++ {
			op.b.Grad[o] += kernel.Sum(op.across.Row(o))
		}
	}
}

func (op *weightGradOp) multiply(lo, hi int, w *worker) {
	in, out := op.x.Cols, op.across.Rows
	scratch := w.floats(kernel.GemmScratch + kernel.PackedLen(hi-lo, gradRows))
	for r := 0; r < op.x.Rows; r += gradRows {
		rows := min(gradRows, op.x.Rows-r)
		packed := kernel.PackKN(scratch[kernel.GemmScratch:], op.x.from(r)[lo:], op.x.Stride, hi-lo, rows)
		gemm := kernel.Gemm{
			A: op.across.Data[r:], LDA: op.across.Stride, M: out, B: &packed,
			Accumulate: true, C: op.w.Grad[lo:], LDC: in,
		}
		gemm.Run(scratch[:kernel.GemmScratch], 0, out, 0, packed.Panels())
	}
}
