package tensor

import "github.com/tokencache/tokencache/internal/kernel"

// Weight is a linear map from In to Out features, with an optional bias. The matrix is held once, packed for the
// kernels.
type Weight struct {
	In, Out int
	Bias    []float32 // [Out] or nil
	packed  kernel.Packed
}

// NewWeight packs w, [out, in] by rows as PyTorch stores it; it keeps bias, which may be nil, and not w.
func NewWeight(w []float32, out, in int, bias []float32) *Weight {
	dst := kernel.AlignedFloats(kernel.PackedLen(out, in))
	return &Weight{In: in, Out: out, Bias: bias, packed: kernel.PackNK(dst, w, in, out, in)}
}

// Bytes returns the memory that the weight takes.
func (w *Weight) Bytes() int64 { return 4 * int64(kernel.PackedLen(w.Out, w.In)+len(w.Bias)) }

// Linear returns x·Wᵀ + b.
func (g *Graph) Linear(x *Tensor, w *Weight) *Tensor {
	y := g.New(x.Rows, w.Out)
	g.linear(x, w, y, kernel.Gemm{})
	return y
}

// LinearGELU returns GELU(x·Wᵀ + b), the tanh form.
func (g *Graph) LinearGELU(x *Tensor, w *Weight) *Tensor {
	y := g.New(x.Rows, w.Out)
	g.linear(x, w, y, kernel.Gemm{Epilogue: kernel.EpilogueGELU})
	return y
}

// LinearGateResidual adds gate * (x·Wᵀ + b) to residual in place and returns it; a row of sample s takes row s of gate. It rounds
// exactly as Linear followed by GateResidual.
func (g *Graph) LinearGateResidual(residual, gate *Tensor, rows *Rows, x *Tensor, w *Weight) *Tensor {
	mustMatch("gate", gate, rows.Samples(), w.Out)
	g.linear(x, w, residual, kernel.Gemm{
		Epilogue: kernel.EpilogueGateResidual,
		Gate:     gate.Data, LDGate: gate.Stride, RowSample: rows.Sample,
		Residual: residual.Data, LDResidual: residual.Stride,
	})
	return residual
}

// linearOp is a matrix product divided over panels of columns and blocks of rows.
type linearOp struct {
	gemm         kernel.Gemm
	panels, rows split
}

func (g *Graph) linear(x *Tensor, w *Weight, y *Tensor, gemm kernel.Gemm) {
	mustMatch("input of the linear map", x, x.Rows, w.In)
	mustMatch("output of the linear map", y, x.Rows, w.Out)
	if x.Rows == 0 {
		return
	}
	gemm.A, gemm.LDA, gemm.M = x.Data, x.Stride, x.Rows
	gemm.B, gemm.Bias = &w.packed, w.Bias
	gemm.C, gemm.LDC = y.Data, y.Stride
	op := &g.ops.linear
	op.gemm = gemm
	op.panels, op.rows = divide(g.Workers(), w.packed.Panels(), x.Rows)
	g.run(op, op.panels.parts*op.rows.parts)
	g.flops += 2 * int64(x.Rows) * int64(w.In) * int64(w.Out)
}

func (op *linearOp) run(part int, w *worker) {
	p0, p1 := op.panels.bounds(part / op.rows.parts)
	r0, r1 := op.rows.bounds(part % op.rows.parts)
	op.gemm.Run(w.floats(kernel.GemmScratch), r0, r1, p0, p1)
}
