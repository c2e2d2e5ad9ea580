package tensor

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
)

// AttentionInput is what attention is computed from: for each sample and head,
// softmax(scale·Q·Kᵀ + bias)·V. Queries and keys may be different sets of tokens, of different
// number in each sample.
type AttentionInput struct {
	Heads int
	Q     *Tensor // [query rows, heads*dim]
	QRows *Rows
	K, V  *Tensor // [key rows, heads*dim]
	KRows *Rows

	// DType is the number format of both products: F32, which is that of training too, or BF16.
	DType DType

	// Scale is what products of queries and keys are multiplied by; 0 stands for 1/sqrt(dim).
	Scale float32

	// Bias, if not nil, holds for each head a number for every difference of places, [heads,
	// differences]: column QPlace[q] - KPlace[k] + BiasOrigin is added to the scaled product of
	// query row q and key row k. Every row has a place; two rows of a sample may share one.
	Bias           *Tensor
	BiasOrigin     int
	QPlace, KPlace []int32

	// ColSums, if not nil, [samples, heads*(largest number of keys of a sample)], receives the
	// column sums of each head's softmax: the attention that each key receives from all queries.
	ColSums *Tensor
}

// attentionOp divides attention over samples, heads and blocks of queries. Keys and values are
// packed by the part that uses them if a sample's head is one part, else beforehand.
type attentionOp struct {
	in      AttentionInput
	dim     int
	scale   float32
	chunks  int // blocks of queries that a sample's head is divided into
	packed  *Tensor
	out     *Tensor
	maxKeys int
}

// newAttentionOp checks in's shapes.
func newAttentionOp(in AttentionInput, out *Tensor) attentionOp {
	width := in.Q.Cols
	mustMatch("queries", in.Q, in.QRows.Len(), width)
	mustMatch("keys", in.K, in.KRows.Len(), width)
	mustMatch("values", in.V, in.KRows.Len(), width)
	if in.Bias != nil {
		mustMatch("bias", in.Bias, in.Heads, in.Bias.Cols)
		if len(in.QPlace) != in.Q.Rows || len(in.KPlace) != in.K.Rows {
			panic(fmt.Sprintf("tensor: attention: places of %d queries and %d keys, want %d and %d",
				len(in.QPlace), len(in.KPlace), in.Q.Rows, in.K.Rows))
		}
	}
	if in.Heads < 1 || width%in.Heads != 0 {
		panic(fmt.Sprintf("tensor: attention: width %d does not divide into %d heads", width, in.Heads))
	}
	op := attentionOp{in: in, dim: width / in.Heads, scale: in.Scale, out: out, chunks: 1}
	if op.scale == 0 {
		op.scale = float32(1 / math.Sqrt(float64(op.dim)))
	}
	return op
}

// Attention returns the concatenated results of the heads, [query rows, heads*dim].
func (g *Graph) Attention(in AttentionInput) *Tensor {
	return g.AttentionInto(g.New(in.Q.Rows, in.Q.Cols), in)
}

// AttentionInto is Attention with its results in out, which it returns.
func (g *Graph) AttentionInto(out *Tensor, in AttentionInput) *Tensor {
	mustMatch("attention output", out, in.Q.Rows, in.Q.Cols)
	op := &g.ops.attention
	*op = newAttentionOp(in, out)
	if g.tape != nil {
		op.in.DType = F32
	}
	samples := in.QRows.Samples()
	maxQueries, flops := 0, int64(0)
	for s := range samples {
		nq, nk := in.QRows.Start[s+1]-in.QRows.Start[s], in.KRows.Start[s+1]-in.KRows.Start[s]
		if nq > 0 && nk == 0 {
			panic(fmt.Sprintf("tensor: attention: sample %d has %d queries and no keys", s, nq))
		}
		maxQueries, op.maxKeys = max(maxQueries, nq), max(op.maxKeys, nk)
		flops += 4 * int64(nq) * int64(nk) * int64(in.Q.Cols)
	}
	g.count(flops) // at once: each sample's would be divided among owners with a rounding of its own
	if in.ColSums != nil {
		mustMatch("column sums", in.ColSums, samples, in.Heads*op.maxKeys)
		clear(in.ColSums.Flat())
	}
	heads := samples * in.Heads
	if want := g.Workers() * partsPerWorker / 2; heads < want && in.ColSums == nil {
		op.chunks = max(1, min((want+heads-1)/heads, maxQueries/queryBlock))
	}
	if op.chunks > 1 {
		m := g.Mark()
		defer g.Release(m)
		k := kernel.Attention{NK: op.maxKeys, Dim: op.dim, DType: op.in.DType}
		op.packed = g.New(heads, k.PackedLen())
		g.ops.pack.op = op
		g.run(&g.ops.pack, heads)
	}
	g.run(op, heads*op.chunks)
	if g.recording(in.Q, in.K, in.V, in.Bias) {
		in := in // captured by reference, as it is large: without the copy, every call would allocate
		g.record(out, func(dout *Tensor) { g.attentionBackward(in, out, dout) })
	}
	return out
}

// queryBlock is the minimum number of queries of a part.
const queryBlock = 32

// head describes one head of one sample to the kernel.
func (op *attentionOp) head(sample, head int) kernel.Attention {
	in := &op.in
	q0, k0, col := in.QRows.Start[sample], in.KRows.Start[sample], head*op.dim
	a := kernel.Attention{
		LDQ: in.Q.Stride, NQ: in.QRows.Start[sample+1] - q0,
		LDK: in.K.Stride, LDV: in.V.Stride, NK: in.KRows.Start[sample+1] - k0,
		LDOut: op.out.Stride,
		Dim:   op.dim, DType: in.DType, Scale: op.scale,
	}
	if a.NQ == 0 {
		return a
	}
	a.Q, a.K, a.V, a.Out = in.Q.from(q0)[col:], in.K.from(k0)[col:], in.V.from(k0)[col:], op.out.from(q0)[col:]
	if in.ColSums != nil {
		a.ColSum = in.ColSums.Row(sample)[head*op.maxKeys:][:a.NK]
	}
	return a
}

func (op *attentionOp) run(part int, w *worker) {
	index, chunk := part/op.chunks, part%op.chunks
	sample, head := index/op.in.Heads, index%op.in.Heads
	a := op.head(sample, head)
	if a.NQ == 0 {
		return
	}
	queries := newSplit(a.NQ, 8, op.chunks)
	if chunk >= queries.parts {
		return // a short sample has fewer blocks
	}
	q0, q1 := queries.bounds(chunk)
	a.Q, a.Out, a.NQ = a.Q[q0*a.LDQ:], a.Out[q0*a.LDOut:], q1-q0

	packedLen, biasLen := 0, 0
	if op.packed == nil {
		packedLen = a.PackedLen()
	}
	if op.in.Bias != nil {
		biasLen = (a.NQ*a.NK + 15) / 16 * 16
	}
	scratch := w.floats(packedLen + biasLen + a.ScratchLen())
	packed, bias, rest := scratch[:packedLen], scratch[packedLen:packedLen+biasLen], scratch[packedLen+biasLen:]
	if op.packed == nil {
		a.Pack(packed, rest)
	} else {
		packed = op.packed.Row(index)[:a.PackedLen()]
	}
	if op.in.Bias != nil {
		op.gatherBias(bias, sample, head, q0, q1)
		a.Bias, a.LDBias = bias, a.NK
	}
	a.Run(packed, rest, 0, a.NQ)
}

// gatherBias lays the bias of queries q0 up to q1 of a sample out by rows.
func (op *attentionOp) gatherBias(dst []float32, sample, head, q0, q1 int) {
	in := &op.in
	queries := in.QPlace[in.QRows.Start[sample]:][q0:q1]
	keys := in.KPlace[in.KRows.Start[sample]:in.KRows.Start[sample+1]]
	from := in.Bias.Row(head)
	for i, q := range queries {
		to := dst[i*len(keys):][:len(keys)]
		at := int(q) + in.BiasOrigin
		for j, k := range keys {
			to[j] = from[at-int(k)]
		}
	}
}

// attentionPack packs the keys and values of every sample's head.
type attentionPack struct{ op *attentionOp }

func (p *attentionPack) run(part int, w *worker) {
	a := p.op.head(part/p.op.in.Heads, part%p.op.in.Heads)
	if a.NQ > 0 {
		a.Pack(p.op.packed.Row(part), w.floats(a.ScratchLen()))
	}
}
