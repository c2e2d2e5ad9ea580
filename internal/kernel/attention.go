package kernel

import "fmt"

// Attention is one head of one sample: Out = softmax(Scale·Q·Kᵀ + Bias)·V, the softmax over each
// row.
type Attention struct {
	// Q is [NQ, Dim], K and V are [NK, Dim]; their rows are LDQ, LDK and LDV floats apart.
	Q       []float32
	LDQ, NQ int
	K       []float32
	LDK     int
	V       []float32
	LDV     int
	NK      int // at least 1
	Dim     int

	Scale  float32
	Bias   []float32 // [NQ, NK], or nil for zeros
	LDBias int

	Out   []float32 // [NQ, Dim]
	LDOut int

	// ColSum, [NK] or nil: Run adds to it, row after row, the attention that each key received.
	// Goroutines that share a head must not share ColSum.
	ColSum []float32
}

// PackedLen returns how many floats Pack writes. It depends on NK and Dim alone and grows with
// either.
func (a *Attention) PackedLen() int {
	return a.packedKeysLen() + PackedLen(a.Dim, a.NK)
}

// packedKeysLen is rounded so that the values begin at a cache line if the keys do.
func (a *Attention) packedKeysLen() int {
	return roundUp(PackedLen(a.NK, a.Dim), cacheLine/4)
}

// ScratchLen returns how many floats of scratch memory Run needs.
func (a *Attention) ScratchLen() int {
	if a.blocked() {
		return maxRows * keyBlock
	}
	return (maxRows + 1) * a.scoresStride()
}

func (a *Attention) scoresStride() int { return roundUp(a.NK, cacheLine/4) }

// Pack packs the keys and values into dst, PackedLen floats, for Run.
func (a *Attention) Pack(dst []float32) {
	a.checkSize()
	PackNK(dst, a.K, a.LDK, a.NK, a.Dim)
	PackKN(dst[a.packedKeysLen():], a.V, a.LDV, a.Dim, a.NK)
}

// Run computes rows q0 up to q1 of Out from what Pack wrote; it does not read K and V. Scratch is
// ScratchLen floats that no other goroutine uses. How rows are divided among calls changes no bit
// of Out.
func (a *Attention) Run(packed, scratch []float32, q0, q1 int) {
	a.check(packed, scratch, q0, q1)
	if q0 >= q1 {
		return
	}
	keys := newPacked(packed, &active.product.layout, a.NK, a.Dim)
	values := newPacked(packed[a.packedKeysLen():], &active.product.layout, a.Dim, a.NK)
	if a.blocked() {
		a.runBlocked(&keys, &values, scratch, q0, q1)
		return
	}
	stride := a.scoresStride()
	scores, biased := scratch[:maxRows*stride], scratch[maxRows*stride:][:a.NK]
	blocks := (q1 - q0 + active.product.rows - 1) / active.product.rows
	for block := range blocks {
		first, rows := share(q1-q0, blocks, block)
		first += q0
		multiply(scores, stride, a.Q[first*a.LDQ:], a.LDQ, rows, &keys, 0, keys.Panels())
		for r := range rows {
			row := scores[r*stride:][:a.NK]
			if a.Bias == nil {
				Softmax(row, row, a.Scale)
			} else {
				copy(biased, a.Bias[(first+r)*a.LDBias:])
				AXPY(biased, a.Scale, row)
				Softmax(row, biased, 1)
			}
			if a.ColSum != nil {
				Add(a.ColSum, a.ColSum, row)
			}
		}
		multiply(a.Out[first*a.LDOut:], a.LDOut, scores, stride, rows, &values, 0, values.Panels())
	}
}

// multiply sets c to the product of one tile's rows of a and panels panel0 up to panel1 of b. The
// caller has checked their lengths.
func multiply(c []float32, ldc int, a []float32, lda, rows int, b *Packed, panel0, panel1 int) {
	t := tile{rows: rows, a: a[:(rows-1)*lda+b.K], lda: lda, k: b.K, taps: oneTap, ldc: ldc}
	lanes, kind := b.layout.lanes, b.layout.run
	vector, _ := b.vectors(panel0)
	data, left := b.data[vector*lanes*b.K:], b.N-vector*lanes
	for panel := panel0; panel < panel1; panel++ {
		t.vectors = b.narrow
		if panel < b.wide {
			t.vectors++
		}
		width := t.vectors * lanes
		cols := min(width, left)
		t.tail = cols - width + lanes
		t.b, data = data[:width*b.K], data[width*b.K:]
		t.c = c[:(rows-1)*ldc+cols]
		t.run(kind)
		left -= cols
		c = c[cols:]
	}
}

func (a *Attention) checkSize() {
	if a.NK < 1 || a.Dim < 1 {
		panic(fmt.Sprintf("kernel: attention to %d keys of %d numbers", a.NK, a.Dim))
	}
}

// check panics if the fields do not fit each other or the arguments of Run.
func (a *Attention) check(packed, scratch []float32, q0, q1 int) {
	a.checkSize()
	if q0 < 0 || q1 > a.NQ {
		panic(fmt.Sprintf("kernel: attention of queries %d up to %d of %d", q0, q1, a.NQ))
	}
	checkMatrix("queries of attention", a.Q, a.LDQ, a.NQ, a.Dim)
	checkMatrix("output of attention", a.Out, a.LDOut, a.NQ, a.Dim)
	if a.Bias != nil {
		checkMatrix("bias of attention", a.Bias, a.LDBias, a.NQ, a.NK)
	}
	if a.ColSum != nil && len(a.ColSum) != a.NK {
		panic(fmt.Sprintf("kernel: attention with %d column sums of %d keys", len(a.ColSum), a.NK))
	}
	if len(packed) < a.PackedLen() || len(scratch) < a.ScratchLen() {
		panic(fmt.Sprintf("kernel: attention with %d packed floats and %d of scratch memory, want %d and %d",
			len(packed), len(scratch), a.PackedLen(), a.ScratchLen()))
	}
}
