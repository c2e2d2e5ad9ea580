package tensor

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tokencache/tokencache/internal/kernel"
)

// Weight is a linear map from In to Out features, with an optional bias. The matrix is packed for
// the kernels; a trainable Weight also has its parameters.
type Weight struct {
	In, Out int
	Bias    []float32 // [Out] or nil
	packed  kernel.Packed

	W, B                     *Param        // nil unless trainable; B also if there is no bias
	trained                  DType         // what a trainable Weight multiplies in, forward and backward
	transposed               kernel.Packed // for the backward pass
	memory, transposedMemory []float32
}

// NewWeight packs w, [out, in] by rows as PyTorch stores it; it keeps bias, which may be nil, and
// not w.
func NewWeight(w []float32, out, in int, bias []float32) *Weight {
	return NewWeightAs(F32, w, out, in, bias)
}

// NewWeightAs is NewWeight of a number format, in which the matrix is multiplied with activations.
// It cannot be trained. Sums of more products of int8 than a kernel takes are not exact: such a map
// is of float32 instead.
func NewWeightAs(d DType, w []float32, out, in int, bias []float32) *Weight {
	return &Weight{In: in, Out: out, Bias: bias, packed: kernel.Pack(weightDType(d, in), w, in, out, in)}
}

// weightDType returns the number format of a map that may be in d.
func weightDType(d DType, in int) DType {
	if d == INT8 && in > kernel.MaxINT8K {
		return F32
	}
	return d
}

// MappedWeight returns a Weight over words that Words gave, of the same layout, and bias. It keeps
// both and writes to neither.
func MappedWeight(d DType, words []float32, out, in int, bias []float32) *Weight {
	return &Weight{In: in, Out: out, Bias: bias, packed: kernel.PackedWords(weightDType(d, in), words, out, in)}
}

// WeightWords returns how many words the matrix of a linear map takes.
func WeightWords(d DType, out, in int) int { return kernel.WordsLen(weightDType(d, in), out, in) }

// WeightLayout names the layout that matrices have in memory: see Weight.Words.
func WeightLayout(d DType) string { return kernel.Layout(F32) + ", " + kernel.Layout(d) }

// Words returns the memory of the matrix, which must not be changed.
func (w *Weight) Words() []float32 { return w.packed.Words() }

// DType returns the number format that the map multiplies in.
func (w *Weight) DType() DType { return w.packed.DType() }

// NewTrainable returns a Weight over the parameters w, [out, in], and b, which may be nil. Call
// Repack after changing their values.
func NewTrainable(w, b *Param, out, in int) *Weight {
	t := &Weight{In: in, Out: out, W: w, B: b}
	if b != nil {
		t.Bias = b.Value
	}
	t.Repack()
	return t
}

// TrainIn makes the products of a trainable Weight, forward and backward, those of a number format,
// F32 or BF16. Parameters, gradients and sums stay float32.
func (w *Weight) TrainIn(d DType) {
	if w.W == nil || d != F32 && d != BF16 {
		panic(fmt.Sprintf("tensor: training of a linear map in %v", d))
	}
	if d != w.trained {
		w.trained, w.memory, w.transposedMemory = d, nil, nil
		w.Repack()
	}
}

// Repack takes over the values of the Weight's parameters.
func (w *Weight) Repack() {
	if w.memory == nil {
		w.memory = kernel.AlignedFloats(kernel.WordsLen(w.trained, w.Out, w.In))
		w.transposedMemory = kernel.AlignedFloats(kernel.WordsLen(w.trained, w.In, w.Out))
	}
	if w.trained == BF16 {
		w.packed = kernel.PackNKBF16(w.memory, w.W.Value, w.In, w.Out, w.In)
		w.transposed = kernel.PackKNBF16(w.transposedMemory, w.W.Value, w.In, w.In, w.Out)
		return
	}
	w.packed = kernel.PackNK(w.memory, w.W.Value, w.In, w.Out, w.In)
	w.transposed = kernel.PackKN(w.transposedMemory, w.W.Value, w.In, w.In, w.Out)
}

// RepackAll repacks several Weights, on several goroutines.
func RepackAll(list []*Weight) {
	const workers = 4 // more do not help: memory bandwidth is the limit
	var next atomic.Int64
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(list)); i = next.Add(1) - 1 {
				list[i].Repack()
			}
		})
	}
	wait.Wait()
}

// trains reports whether the Weight has a parameter that is not frozen.
func (w *Weight) trains() bool {
	return w.W != nil && w.W.Grad != nil || w.B != nil && w.B.Grad != nil
}

// Bytes returns the memory that the weight takes.
func (w *Weight) Bytes() int64 { return w.packed.Bytes() + 4*int64(len(w.Bias)) }

// Linear returns x·Wᵀ + b.
func (g *Graph) Linear(x *Tensor, w *Weight) *Tensor {
	y := g.New(x.Rows, w.Out)
	g.linear(x, w, y, kernel.Gemm{})
	if g.tape != nil && (x.requiresGrad || w.trains()) {
		g.record(y, func(dy *Tensor) { g.linearBackward(x, w, dy) })
	}
	return y
}

// LinearInto sets dst to x·Wᵀ + b and returns it; dst must not share memory with x. While a tape
// records it leaves dst alone and returns a new matrix.
func (g *Graph) LinearInto(dst, x *Tensor, w *Weight) *Tensor {
	if g.tape != nil {
		return g.Linear(x, w)
	}
	g.linear(x, w, dst, kernel.Gemm{})
	return dst
}

// LinearGELU returns GELU(x·Wᵀ + b), the tanh form.
func (g *Graph) LinearGELU(x *Tensor, w *Weight) *Tensor {
	if g.tape != nil && (x.requiresGrad || w.trains()) {
		return g.gelu(g.Linear(x, w))
	}
	y := g.New(x.Rows, w.Out)
	g.linear(x, w, y, kernel.Gemm{Epilogue: kernel.EpilogueGELU})
	return y
}

// LinearGateResidual adds gate * (x·Wᵀ + b) to residual in place and returns it; a row of sample s
// takes row s of gate. It rounds exactly as Linear followed by GateResidual, and is that while a
// tape records.
func (g *Graph) LinearGateResidual(residual, gate *Tensor, rows *Rows, x *Tensor, w *Weight) *Tensor {
	if g.tape != nil {
		return g.GateResidual(residual, gate, rows, g.Linear(x, w))
	}
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
	unconverted  *Tensor // whose rows each part has yet to convert into gemm.X, or nil
	convert      convertOp
}

// convertOp converts the rows of a product's left-hand side to the number format of its weights.
type convertOp struct {
	to   kernel.Converted
	x    *Tensor
	rows split
}

func (op *convertOp) run(part int, _ *worker) {
	r0, r1 := op.rows.bounds(part)
	op.to.Rows(op.x.Data, op.x.Stride, r0, r1)
}

// toConvert returns memory of g for x in the number format of b.
func (g *Graph) toConvert(x *Tensor, b *kernel.Packed) *kernel.Converted {
	to := &g.ops.linear.convert.to
	*to = kernel.NewConverted(g.floats.get(kernel.ConvertedLen(b, x.Rows)), b, x.Rows)
	return to
}

// converted returns x in the number format of b, in memory of g.
func (g *Graph) converted(x *Tensor, b *kernel.Packed) *kernel.Converted {
	op := &g.ops.linear.convert
	g.toConvert(x, b)
	op.x = x
	op.rows = newSplit(x.Rows, 1, g.Workers())
	g.run(op, op.rows.parts)
	return &op.to
}

func (g *Graph) linear(x *Tensor, w *Weight, y *Tensor, gemm kernel.Gemm) {
	mustMatch("input of the linear map", x, x.Rows, w.In)
	mustMatch("output of the linear map", y, x.Rows, w.Out)
	gemm.B, gemm.Bias = &w.packed, w.Bias
	g.multiply(gemm, x, y)
}

// multiply runs the product of x, which gemm may have converted already, and gemm.B into y.
func (g *Graph) multiply(gemm kernel.Gemm, x, y *Tensor) {
	if x.Rows == 0 {
		return
	}
	gemm.M = x.Rows
	op := &g.ops.linear
	op.unconverted = nil
	op.panels, op.rows = divide(g.Workers(), gemm.B.Panels(), x.Rows)
	switch {
	case gemm.B.DType() == F32:
		gemm.A, gemm.LDA = x.Data, x.Stride
	case gemm.X == nil:
		defer g.floats.release(g.floats.mark())
		if rows, ok := divideRows(g.Workers(), x.Rows, gemm.B.Bytes()); ok {
			op.panels, op.rows, op.unconverted = newSplit(gemm.B.Panels(), 1, 1), rows, x
			gemm.X = g.toConvert(x, gemm.B)
		} else {
			gemm.X = g.converted(x, gemm.B)
		}
	}
	gemm.C, gemm.LDC = y.Data, y.Stride
	op.gemm = gemm
	g.run(op, op.panels.parts*op.rows.parts)
	g.count(2 * int64(x.Rows) * int64(gemm.B.K) * int64(gemm.B.N))
}

func (op *linearOp) run(part int, w *worker) {
	p0, p1 := op.panels.bounds(part / op.rows.parts)
	r0, r1 := op.rows.bounds(part % op.rows.parts)
	if x := op.unconverted; x != nil {
		op.gemm.X.Rows(x.Data, x.Stride, r0, r1)
	}
	op.gemm.Run(w.floats(kernel.GemmScratch), r0, r1, p0, p1)
}
