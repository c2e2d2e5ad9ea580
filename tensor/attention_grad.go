package tensor

import "github.com/tokencache/tokencache/internal/kernel"

// attentionGradOp is the backward pass of attention, a head of a sample at a time. The softmax is
// recomputed, not kept:
//
//	P = softmax(scale·Q·Kᵀ + bias)    dV = Pᵀ·dO    dP = dO·Vᵀ
//	dS = P∘(dP - rowsum(P∘dP))        dQ = scale·dS·K    dK = scale·dSᵀ·Q
//
// and each element of the bias gets the sum of the elements of dS that it was added to.
type attentionGradOp struct {
	forward    attentionOp
	dout       *Tensor
	dq, dk, dv *Tensor
	set        [3]bool // dq, dk and dv instead of adding to them
	dbias      *Tensor // of every sample's heads, [samples*heads, differences], or nil
}

// attentionBackward adds to the gradients of queries, keys, values and the bias.
func (g *Graph) attentionBackward(in AttentionInput, out, dout *Tensor) {
	op := &g.ops.attentionGrad
	*op = attentionGradOp{forward: newAttentionOp(in, out), dout: dout}
	op.dv, op.set[2] = g.gradToSet(in.V) // in the order of run: two may be the same matrix
	op.dq, op.set[0] = g.gradToSet(in.Q)
	op.dk, op.set[1] = g.gradToSet(in.K)
	var dbias *Tensor
	if in.Bias != nil && in.Bias.requiresGrad {
		dbias = g.Grad(in.Bias)
	}
	m := g.Mark()
	if dbias != nil {
		op.dbias = g.New(in.QRows.Samples()*in.Heads, in.Bias.Cols)
		clear(op.dbias.Data)
	}
	g.run(op, in.QRows.Samples()*in.Heads)
	if dbias != nil {
		for s := range in.QRows.Samples() { // in their order, whatever the number of workers
			g.addInto(dbias, g.RowRange(op.dbias, s*in.Heads, (s+1)*in.Heads))
		}
	}
	g.Release(m)
	for s := range in.QRows.Samples() {
		nq, nk := in.QRows.Start[s+1]-in.QRows.Start[s], in.KRows.Start[s+1]-in.KRows.Start[s]
		g.count(10 * int64(nq) * int64(nk) * int64(in.Q.Cols))
	}
}

func (op *attentionGradOp) run(part int, w *worker) {
	in := &op.forward.in
	sample, head := part/in.Heads, part%in.Heads
	a := op.forward.head(sample, head)
	nq, nk, d := a.NQ, a.NK, a.Dim
	col := head * d
	if nq == 0 {
		for r := in.KRows.Start[sample]; r < in.KRows.Start[sample+1]; r++ {
			if op.set[1] {
				clear(op.dk.Row(r)[col:][:d])
			}
			if op.set[2] {
				clear(op.dv.Row(r)[col:][:d])
			}
		}
		return
	}
	dout := op.dout.from(in.QRows.Start[sample])[col:]
	dq := op.dq.from(in.QRows.Start[sample])[col:]
	dk := op.dk.from(in.KRows.Start[sample])[col:]
	dv := op.dv.from(in.KRows.Start[sample])[col:]

	longest := max(nq, nk)
	floats := w.floats(kernel.GemmScratch + 3*nq*nk + kernel.PackedLen(longest, d) + kernel.PackedLen(d, longest) + 64)
	take := func(n int) []float32 {
		n = (n + 15) / 16 * 16
		s := floats[:n]
		floats = floats[n:]
		return s
	}
	scratch, p, dp, across := take(kernel.GemmScratch), take(nq*nk), take(nq*nk), take(nq*nk)
	packed := floats
	// product sets (or adds to) c = a·b, of m rows, k terms and n columns.
	product := func(c []float32, ldc int, add bool, a []float32, lda, m int, b kernel.Packed) {
		gemm := kernel.Gemm{A: a, LDA: lda, M: m, B: &b, Accumulate: add, C: c, LDC: ldc}
		gemm.Run(scratch, 0, m, 0, b.Panels())
	}

	product(p, nk, false, a.Q, a.LDQ, nq, kernel.PackNK(packed, a.K, a.LDK, nk, d))
	if in.Bias != nil {
		op.forward.gatherBias(across, sample, head, 0, nq)
	}
	for q := range nq {
		row := p[q*nk:][:nk]
		if in.Bias != nil {
			biased := across[q*nk:][:nk]
			kernel.AXPY(biased, a.Scale, row)
			kernel.Softmax(row, biased, 1)
		} else {
			kernel.Softmax(row, row, a.Scale)
		}
	}
	kernel.Transpose(across, nq, p, nk, nq, nk)
	product(dv, op.dv.Stride, !op.set[2], across, nq, nk, kernel.PackKN(packed, dout, op.dout.Stride, d, nq))
	product(dp, nk, false, dout, op.dout.Stride, nq, kernel.PackNK(packed, a.V, a.LDV, nk, d))
	for q := range nq {
		kernel.SoftmaxGrad(dp[q*nk:][:nk], p[q*nk:][:nk], dp[q*nk:][:nk], a.Scale)
	}
	if op.dbias != nil {
		op.scatterBias(op.dbias.Row(part), dp, sample)
	}
	product(dq, op.dq.Stride, !op.set[0], dp, nk, nq, kernel.PackKN(packed, a.K, a.LDK, d, nk))
	kernel.Transpose(across, nq, dp, nk, nq, nk)
	product(dk, op.dk.Stride, !op.set[1], across, nq, nk, kernel.PackKN(packed, a.Q, a.LDQ, d, nq))
}

// scatterBias adds to d, the bias's gradient, the elements of ds, which is scale times the gradient
// of a head's scores.
func (op *attentionGradOp) scatterBias(d, ds []float32, sample int) {
	in := &op.forward.in
	queries := in.QPlace[in.QRows.Start[sample]:in.QRows.Start[sample+1]]
	keys := in.KPlace[in.KRows.Start[sample]:in.KRows.Start[sample+1]]
	for i, q := range queries {
		row := ds[i*len(keys):][:len(keys)]
		at := int(q) + in.BiasOrigin
		for j, k := range keys {
			d[at-int(k)] += row[j] / op.forward.scale
		}
	}
}
