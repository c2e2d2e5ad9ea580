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

	// DType is the number format of both products, F32 or BF16: queries, keys, values and the weights
	// of the softmax are rounded to it. Sums and the softmax itself are float32.
	DType DType

	Scale  float32
	Bias   []float32 // [NQ, NK], or nil for zeros
	LDBias int

	Out   []float32 // [NQ, Dim]
	LDOut int

	// ColSum, [NK] or nil: Run adds to it, row after row, the attention that each key received.
	// Goroutines that share a head must not share ColSum.
	ColSum []float32
}

// AttentionIn returns the number format of attention in a network whose linear maps have one:
// bfloat16 where the processor multiplies in it, which is faster, and float32 elsewhere.
func AttentionIn(d DType) DType {
	if d != F32 && active.narrow.bf16.run == tileBF16DotOfAVX512 {
		return BF16
	}
	return F32
}

// PackedLen returns how many floats Pack writes. It depends on NK, Dim and DType alone and grows
// with the first two.
func (a *Attention) PackedLen() int {
	return a.packedKeysLen() + WordsLen(a.DType, a.Dim, a.NK)
}

// packedKeysLen is rounded so that the values begin at a cache line if the keys do.
func (a *Attention) packedKeysLen() int {
	return roundUp(WordsLen(a.DType, a.NK, a.Dim), floatsOfLine)
}

// ScratchLen returns how many floats of scratch memory Pack and Run need.
func (a *Attention) ScratchLen() int {
	n := a.queryWords(maxRows) + (maxRows+1)*a.scoresStride()
	if a.blocked() {
		n = a.queryWords(queryTiles*maxRows) + maxRows*keyBlock
	}
	if a.DType != F32 {
		n = max(n, packScratchLen)
	}
	return n
}

func (a *Attention) scoresStride() int { return roundUp(a.NK, floatsOfLine) }

// queryWords returns the words of rows of queries that have to be converted.
func (a *Attention) queryWords(rows int) int {
	if a.DType == F32 {
		return 0
	}
	return roundUp(rows*layoutOf(a.DType).rowWords(a.Dim), floatsOfLine)
}

// queries returns rows of Q in the number format, in words if that is not float32, and their
// stride.
func (a *Attention) queries(words []float32, first, rows int) (q []float32, ld int) {
	q = a.Q[first*a.LDQ:]
	if a.DType == F32 {
		return q, a.LDQ
	}
	ld = layoutOf(a.DType).rowWords(a.Dim)
	for r := range rows {
		active.round(words[r*ld:][:ld], q[r*a.LDQ:][:a.Dim])
	}
	return words, ld
}

// narrow converts a row of weights of the softmax in place, if they have to be.
func (a *Attention) narrow(row []float32) {
	if a.DType != F32 {
		active.round(row[:layoutOf(a.DType).rowWords(len(row))], row)
	}
}

// Pack packs the keys and values into dst, PackedLen floats, for Run. Scratch is ScratchLen floats
// that no other goroutine uses.
func (a *Attention) Pack(dst, scratch []float32) {
	a.checkSize()
	if len(dst) < a.PackedLen() || len(scratch) < a.ScratchLen() {
		panic(fmt.Sprintf("kernel: %d floats to pack keys and values into and %d of scratch memory, want %d and %d",
			len(dst), len(scratch), a.PackedLen(), a.ScratchLen()))
	}
	keys, values := a.split(dst)
	if a.DType == F32 {
		PackNK(keys, a.K, a.LDK, a.NK, a.Dim)
		PackKN(values, a.V, a.LDV, a.Dim, a.NK)
		return
	}
	packNKBF16(keys, a.K, a.LDK, a.NK, a.Dim, scratch)
	PackKNBF16(values, a.V, a.LDV, a.Dim, a.NK)
}

// split divides the memory of Pack.
func (a *Attention) split(packed []float32) (keys, values []float32) {
	return packed[:WordsLen(a.DType, a.NK, a.Dim)], packed[a.packedKeysLen():][:WordsLen(a.DType, a.Dim, a.NK)]
}

// Run computes rows q0 up to q1 of Out from what Pack wrote; it does not read K and V. Scratch is
// ScratchLen floats that no other goroutine uses. How rows are divided among calls changes no bit
// of Out.
func (a *Attention) Run(packed, scratch []float32, q0, q1 int) {
	a.check(packed, scratch, q0, q1)
	if q0 >= q1 {
		return
	}
	keyWords, valueWords := a.split(packed)
	keys, values := PackedWords(a.DType, keyWords, a.NK, a.Dim), PackedWords(a.DType, valueWords, a.Dim, a.NK)
	if a.blocked() {
		a.runBlocked(&keys, &values, scratch, q0, q1)
		return
	}
	stride := a.scoresStride()
	words := a.queryWords(maxRows)
	converted, scratch := scratch[:words], scratch[words:]
	scores, biased := scratch[:maxRows*stride], scratch[maxRows*stride:][:a.NK]
	blocks := (q1 - q0 + keys.layout.rows - 1) / keys.layout.rows
	for block := range blocks {
		first, rows := share(q1-q0, blocks, block)
		first += q0
		q, ldq := a.queries(converted, first, rows)
		multiply(scores, stride, q, ldq, rows, &keys, 0, keys.Panels())
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
			a.narrow(row)
		}
		multiply(a.Out[first*a.LDOut:], a.LDOut, scores, stride, rows, &values, 0, values.Panels())
	}
}

// multiply sets c to the product of one tile's rows of a and panels panel0 up to panel1 of b, a
// being of its number format. The caller has checked their lengths.
func multiply(c []float32, ldc int, a []float32, lda, rows int, b *Packed, panel0, panel1 int) {
	lanes, column := b.layout.lanes, b.layout.columnWords(b.K)
	t := tile{
		rows: rows, a: a[:(rows-1)*lda+b.layout.rowWords(b.K)], lda: lda,
		k: b.layout.steps(b.K), taps: oneTap, ldc: ldc,
	}
	vector, _ := b.vectors(panel0)
	data, left := b.data[vector*lanes*column:], b.N-vector*lanes
	for panel := panel0; panel < panel1; panel++ {
		t.vectors = b.narrow
		if panel < b.wide {
			t.vectors++
		}
		width := t.vectors * lanes
		cols := min(width, left)
		t.tail = cols - width + lanes
		t.b, data = data[:width*column], data[width*column:]
		t.c = c[:(rows-1)*ldc+cols]
		t.run(b.layout.run)
		left -= cols
		c = c[cols:]
	}
}

func (a *Attention) checkSize() {
	if a.NK < 1 || a.Dim < 1 {
		panic(fmt.Sprintf("kernel: attention to %d keys of %d numbers", a.NK, a.Dim))
	}
	if a.DType != F32 && a.DType != BF16 {
		panic(fmt.Sprintf("kernel: attention in %v", a.DType))
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
