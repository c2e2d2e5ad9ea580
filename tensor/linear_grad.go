package tensor

import "github.com/tokencache/tokencache/internal/kernel"

// linearBackward adds to the gradients of x, W and b, where required: dx = dy·W, dW = dyᵀ·x, db =
// the sum of dy's rows.
func (g *Graph) linearBackward(x *Tensor, w *Weight, dy *Tensor) {
	if x.requiresGrad {
		if w.W == nil {
			panic("tensor: backward pass through a Weight that is not trainable")
		}
		dx, fresh := g.gradToSet(x)
		g.multiply(kernel.Gemm{B: &w.transposed, Accumulate: !fresh}, dy, dx)
	}
	if !w.trains() || x.Rows == 0 {
		return
	}
	m := g.Mark()
	op := &g.ops.weightGrad
	op.begin(g, x, w, dy)
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
	across *Tensor            // dyᵀ, if products are of float32
	blocks []kernel.Converted // of each gradRows rows of dy the transpose, if products are of bfloat16
	narrow bool
	w, b   *Param
	split  split
	stage  func(lo, hi int, w *worker)
}

const (
	gradColumns = 48  // inputs of a part
	gradRows    = 512 // rows of a block
)

// begin describes the backward pass of y = x·Wᵀ + b and takes memory for it.
func (op *weightGradOp) begin(g *Graph, x *Tensor, w *Weight, dy *Tensor) {
	*op = weightGradOp{x: x, dy: dy, blocks: op.blocks[:0], narrow: w.trained == BF16, w: w.W, b: w.B}
	if !op.narrow {
		op.across = g.New(w.Out, x.Rows)
		return
	}
	for r := 0; r < x.Rows; r += gradRows {
		rows := min(gradRows, x.Rows-r)
		op.blocks = append(op.blocks, kernel.NewColumns(g.floats.get(kernel.ColumnsLen(w.Out, rows)), w.Out, rows))
	}
}

func (op *weightGradOp) run(part int, w *worker) {
	lo, hi := op.split.bounds(part)
	op.stage(lo, hi, w)
}

func (op *weightGradOp) transpose(lo, hi int, w *worker) {
	if op.narrow {
		op.transposeNarrow(lo, hi, w)
		return
	}
	rows := op.dy.Rows
	kernel.Transpose(op.across.from(lo), op.across.Stride, op.dy.Data[lo:], op.dy.Stride, rows, hi-lo)
	if op.b != nil && op.b.Grad != nil {
		for o := lo; o < hi; o++ {
			op.b.Grad[o] += kernel.Sum(op.across.Row(o))
		}
	}
}

func (op *weightGradOp) transposeNarrow(lo, hi int, w *worker) {
	longest := min(gradRows, op.dy.Rows)
	scratch := w.floats(hi - lo + kernel.ColumnsScratch(hi-lo, longest))
	sum, scratch := scratch[:hi-lo], scratch[hi-lo:]
	for i := range op.blocks {
		first := i * gradRows
		op.blocks[i].Columns(scratch, op.dy.from(first), op.dy.Stride, lo, hi)
		if op.b == nil || op.b.Grad == nil {
			continue
		}
		clear(sum)
		for r := range op.blocks[i].K {
			kernel.Add(sum, sum, op.dy.Row(first + r)[lo:hi])
		}
		kernel.Add(op.b.Grad[lo:hi], op.b.Grad[lo:hi], sum)
	}
}

func (op *weightGradOp) multiply(lo, hi int, w *worker) {
	in, out := op.x.Cols, op.dy.Cols
	size := kernel.PackedLen(hi-lo, gradRows)
	if op.narrow {
		size = kernel.WordsLen(BF16, hi-lo, gradRows)
	}
	scratch := w.floats(kernel.GemmScratch + size)
	for r := 0; r < op.x.Rows; r += gradRows {
		rows := min(gradRows, op.x.Rows-r)
		gemm := kernel.Gemm{M: out, Accumulate: true, C: op.w.Grad[lo:], LDC: in}
		memory, x := scratch[kernel.GemmScratch:], op.x.from(r)[lo:]
		var packed kernel.Packed
		if op.narrow {
			packed = kernel.PackKNBF16(memory[:kernel.WordsLen(BF16, hi-lo, rows)], x, op.x.Stride, hi-lo, rows)
			gemm.X = &op.blocks[r/gradRows]
		} else {
			packed = kernel.PackKN(memory, x, op.x.Stride, hi-lo, rows)
			gemm.A, gemm.LDA = op.across.Data[r:], op.across.Stride
		}
		gemm.B = &packed
		gemm.Run(scratch[:kernel.GemmScratch], 0, out, 0, packed.Panels())
	}
}
