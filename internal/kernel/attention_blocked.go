package kernel

import "math"

// LongAttention is the number of keys from which attention without a bias and column sums goes
// through the keys block by block, with an online softmax (Milakov and Gimelshein, arXiv
// 1805.02867; FlashAttention, arXiv 2205.14135).
const LongAttention = 512

// AttentionVersion counts the changes of the bits of attention to LongAttention keys or more.
const AttentionVersion = 2

const (
	// keyBlock is the maximum number of keys of a block: its keys and values stay in the
	// second-level cache while queryTiles tiles pass by, and a tile's scores in the first.
	keyBlock   = 384
	queryTiles = 8
)

// blocked reports whether the keys are divided into blocks, which begin at whole steps of the values.
func (a *Attention) blocked() bool {
	l := layoutOf(a.DType)
	return a.NK >= LongAttention && a.Bias == nil && a.ColSum == nil && l.lanes%l.group == 0
}

// runBlocked is Run for blocks of keys. Out holds the sums of the weighted values of the blocks so
// far, relative to the highest score so far, and is divided by the sum of the weights at the end.
// The blocks depend on NK alone, so rows may be divided in any way.
func (a *Attention) runBlocked(keys, values *Packed, scratch []float32, q0, q1 int) {
	words := a.queryWords(queryTiles * maxRows)
	converted, scores := scratch[:words], scratch[words:]
	perBlock := keyBlock / (keys.layout.vectors * keys.layout.lanes)
	keyBlocks := (keys.Panels() + perBlock - 1) / perBlock
	step := queryTiles * keys.layout.rows
	for ; q0 < q1; q0 += step {
		var state [queryTiles * maxRows]softmaxState
		rows := min(step, q1-q0)
		tiles := (rows + keys.layout.rows - 1) / keys.layout.rows
		q, ldq := a.queries(converted, q0, rows)
		for block := range keyBlocks {
			panel, panels := share(keys.Panels(), keyBlocks, block)
			key0, _ := keys.Panel(panel)
			last, n := keys.Panel(panel + panels - 1)
			key1 := last + n
			stride := roundUp(key1-key0, floatsOfLine)
			for tile := range tiles {
				first, count := share(rows, tiles, tile)
				out := a.Out[(q0+first)*a.LDOut:]
				multiply(scores, stride, q[first*ldq:], ldq, count, keys, panel, panel+panels)
				for r := range count {
					row := scores[r*stride:][:key1-key0]
					state[first+r].add(row, out[r*a.LDOut:][:a.Dim], a.Scale, block == 0)
					a.narrow(row)
				}
				accumulate(out, a.LDOut, scores, stride, count, values, key0, key1)
			}
		}
		for r := range rows {
			out := a.Out[(q0+r)*a.LDOut:][:a.Dim]
			active.row.scale(out, out, 1/state[r].sum)
		}
	}
}

// softmaxState is what is known of a row's softmax after some blocks of keys.
type softmaxState struct {
	highest float32 // score
	shift   float32 // minus the exponent of the highest score, in powers of two
	sum     float32 // of the weights, 2**(scale*log2(e)*score + shift)
}

// add replaces the scores of the next block by their weights, and makes out, the weighted sum of
// the values so far, relative to the highest score including this block's.
func (s *softmaxState) add(scores, out []float32, scale float32, first bool) {
	row := &active.row
	scale *= math.Log2E
	if highest := row.highest(scores); first {
		clear(out)
		s.highest, s.shift = highest, -scale*highest
	} else if highest > s.highest {
		shift := -scale * highest
		factor := float32(math.Exp2(float64(shift) - float64(s.shift)))
		row.scale(out, out, factor)
		s.highest, s.shift, s.sum = highest, shift, s.sum*factor
	}
	s.sum += row.exp2Sum(scores, scores, scale, s.shift)
}

// accumulate adds to c the product of one tile's rows of a and rows key0 up to key1 of b, a being of
// its number format.
func accumulate(c []float32, ldc int, a []float32, lda, rows int, b *Packed, key0, key1 int) {
	l, n := b.layout, key1-key0
	t := tile{
		rows: rows, a: a[:(rows-1)*lda+l.rowWords(n)], lda: lda,
		k: l.steps(n), taps: oneTap, ldc: ldc, add: true,
	}
	for panel := range b.Panels() {
		first, cols := b.Panel(panel)
		t.setPanel(b, panel)
		width := t.vectors * l.lanes
		t.b = t.b[width*l.columnWords(key0) : width*l.columnWords(key1)]
		t.c = c[first:][:(rows-1)*ldc+cols]
		t.run(l.run)
	}
}
