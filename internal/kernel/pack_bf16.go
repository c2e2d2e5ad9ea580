package kernel

import (
	"fmt"
	"sync"
)

// Packing for training, where both sides of products change at every step: weights, and activations
// and gradients by columns. Each word holds two inputs, the first in its lower half.

// PackNKBF16 packs w [n, k], of rows ldw floats apart, for products of bfloat16 into words, which
// are kept: see WordsLen.
func PackNKBF16(words, w []float32, ldw, n, k int) Packed {
	scratch := packScratch.Get().(*[packScratchLen]float32)
	defer packScratch.Put(scratch)
	return packNKBF16(words, w, ldw, n, k, scratch[:])
}

// packNKBF16 is PackNKBF16 with packScratchLen floats of scratch memory.
func packNKBF16(words, w []float32, ldw, n, k int, scratch []float32) Packed {
	checkMatrix("PackNKBF16", w, ldw, n, k)
	p := PackedWords(BF16, words, n, k)
	if p.layout.group != 2 {
		p.packBF16(w, ldw)
		return p
	}
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		p.impl.packRows(panel, width, w[first*ldw:], ldw, cols, k, scratch)
		clearColumns(panel, width, cols)
	}
	return p
}

// packBF16 packs groups of any number of inputs.
func (p *Packed) packBF16(w []float32, ldw int) {
	group := p.layout.group
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		clear(panel)
		halves := integers[uint16](panel)
		for j := range cols {
			for at, v := range w[(first+j)*ldw:][:p.K] {
				halves[group*(at/group*width+j)+at%group] = toBF16(v)
			}
		}
	}
}

// clearColumns clears the columns from cols on of a panel.
func clearColumns(panel []float32, width, cols int) {
	for j := cols; j < width; j++ {
		for at := j; at < len(panel); at += width {
			panel[at] = 0
		}
	}
}

const (
	packBlock      = 64 // words of a row that are packed at a time
	packScratchLen = maxColumns * packBlock
)

var packScratch = sync.Pool{New: func() any { return new([packScratchLen]float32) }}

// packRows sets word s*width+j of panel to the inputs 2s and 2s+1 of row j of w, [cols, k].
func (im *Impl) packRows(panel []float32, width int, w []float32, ldw, cols, k int, scratch []float32) {
	const block = packBlock
	rows := scratch[:packScratchLen]
	steps := (k + 1) / 2
	for s := 0; s < steps; s += block {
		n := min(block, steps-s)
		for j := range cols {
			im.packPairs(rows[j*block:][:n], w[j*ldw:][2*s:min(k, 2*(s+n))])
		}
		Transpose(panel[s*width:], width, rows, block, cols, n)
	}
}

// packPairs rounds a row to bfloat16, two elements to a word.
func (im *Impl) packPairs(dst, row []float32) {
	ops := &im.narrow.convert
	done := 0
	if ops.pack != nil {
		done = len(row) / ops.lanes * ops.lanes
	}
	if done > 0 {
		ops.pack(&dst[0], &row[0], done)
	}
	halves := integers[uint16](dst)
	for i, v := range row[done:] {
		halves[done+i] = toBF16(v)
	}
	clear(halves[len(row):])
}

// PackKNBF16 is PackKN for products of bfloat16, into words, which are kept: see WordsLen.
func PackKNBF16(words, w []float32, ldw, n, k int) Packed {
	p := PackedWords(BF16, words, n, k)
	p.PackInputs(w, ldw, 0, k)
	return p
}

// PackInputs packs inputs k0 up to k1 of w [K, N], of rows ldw floats apart, for products of
// bfloat16. K0 is even, and so is k1 unless it is K. Inputs that do not overlap may be packed at the
// same time.
func (p *Packed) PackInputs(w []float32, ldw, k0, k1 int) {
	checkMatrix("PackInputs", w, ldw, p.K, p.N)
	checkPairs("inputs", p.dtype, k0, k1, p.K)
	if p.layout.group != 2 {
		p.packInputs(w, ldw, k0, k1)
		return
	}
	for k := k0; k < k1; k += 2 {
		for i := range p.panels {
			first, cols := p.Panel(i)
			panel, width := p.panel(i)
			to := panel[k/2*width:][:width]
			p.impl.pairRows(to[:cols], w, ldw, first, k, p.K)
			clear(to[cols:])
		}
	}
}

// packInputs packs inputs of groups of any number.
func (p *Packed) packInputs(w []float32, ldw, k0, k1 int) {
	group, end := p.layout.group, k1
	if k1 == p.K {
		end = roundUp(k1, group) // behind the last inputs are zeros
	}
	for i := range p.panels {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		halves := integers[uint16](panel)
		for k := k0; k < end; k++ {
			for j := range width {
				half := uint16(0)
				if k < p.K && j < cols {
					half = toBF16(w[k*ldw+first+j])
				}
				halves[group*(k/group*width+j)+k%group] = half
			}
		}
	}
}

func checkPairs(what string, d DType, k0, k1, k int) {
	if d != BF16 || k0 < 0 || k1 > k || k0%2 != 0 || k1%2 != 0 && k1 != k {
		panic(fmt.Sprintf("kernel: %s [%d:%d] of %d in pairs of %v", what, k0, k1, k, d))
	}
}

// pairRows rounds len(dst) columns of rows k0 and k0+1 of w, [k, n], to words of bfloat16. A row
// behind the last is of zeros.
func (im *Impl) pairRows(dst, w []float32, ldw, column, k0, k int) {
	x := w[k0*ldw+column:][:len(dst)]
	var y []float32
	if k0+1 < k {
		y = w[(k0+1)*ldw+column:][:len(dst)]
	}
	ops := &im.narrow.convert
	done := 0
	if ops.pair != nil && y != nil {
		done = len(dst) / ops.lanes * ops.lanes
	}
	if done > 0 {
		ops.pair(&dst[0], &x[0], &y[0], done)
	}
	halves := integers[uint16](dst)
	for i := done; i < len(dst); i++ {
		halves[2*i], halves[2*i+1] = toBF16(x[i]), 0
		if y != nil {
			halves[2*i+1] = toBF16(y[i])
		}
	}
}

// ColumnsLen returns how many floats a Converted of bfloat16 of m rows of k elements takes.
func ColumnsLen(m, k int) int { return convertedLen(BF16, layoutOf(BF16), m, k) }

// NewColumns returns a matrix [m, k] of bfloat16 in mem, which is kept. Columns fills it.
func NewColumns(mem []float32, m, k int) Converted {
	l := layoutOf(BF16)
	if m < 0 || k < 1 || len(mem) < convertedLen(BF16, l, m, k) {
		panic(fmt.Sprintf("kernel: %d floats of a matrix [%d, %d] of bfloat16", len(mem), m, k))
	}
	return Converted{M: m, K: k, dtype: BF16, impl: active, words: mem[:m*l.rowWords(k)], ld: l.rowWords(k)}
}

// ColumnsScratch returns how many floats of scratch memory Columns needs for a number of rows of x.
func (c *Converted) ColumnsScratch(rows int) int { return c.M * (rows + 1) }

// Columns converts rows k0 up to k1 of x, [K, M], whose columns are c's rows. K0 is even, and so is
// k1 unless it is K. Rows that do not overlap may be converted at the same time, each with scratch
// memory of its own.
func (c *Converted) Columns(scratch, x []float32, ldx, k0, k1 int) {
	checkMatrix("conversion of columns", x, ldx, c.K, c.M)
	checkPairs("columns", c.dtype, k0, k1, c.K)
	if k0 >= k1 || c.M == 0 {
		return
	}
	if len(scratch) < c.ColumnsScratch(k1-k0) {
		panic(fmt.Sprintf("kernel: %d floats of scratch memory for %d columns", len(scratch), c.M))
	}
	n := k1 - k0
	if l := c.impl.narrow.bf16; l.words == l.group { // as floats
		Transpose(scratch, n, x[k0*ldx:], ldx, n, c.M)
		for r := range c.M {
			c.impl.round(c.words[r*c.ld+k0:][:min(roundUp(n, 2), c.ld-k0)], scratch[r*n:][:n])
		}
		return
	}
	steps := (n + 1) / 2
	for s := range steps {
		c.impl.pairRows(scratch[s*c.M:][:c.M], x, ldx, 0, k0+2*s, c.K)
	}
	Transpose(c.words[k0/2:], c.ld, scratch, c.M, steps, c.M)
	if k1 == c.K {
		for r := range c.M {
			clear(c.words[r*c.ld:][(c.K+1)/2 : c.ld])
		}
	}
}
