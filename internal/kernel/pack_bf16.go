package kernel

import "fmt"

// Packing for training, where both sides of products change at every step: weights, and activations
// and gradients by columns. Each word holds two inputs, the first in its lower half.

// PackNKBF16 packs w [n, k], of rows ldw floats apart, for products of bfloat16 into words, which
// are kept: see WordsLen.
func PackNKBF16(words, w []float32, ldw, n, k int) Packed {
	checkMatrix("PackNKBF16", w, ldw, n, k)
	p := PackedWords(BF16, words, n, k)
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		p.impl.packRows(panel, width, w[first*ldw:], ldw, cols, k)
		clearColumns(panel, width, cols)
	}
	return p
}

// clearColumns clears the columns from cols on of a panel.
func clearColumns(panel []float32, width, cols int) {
	for j := cols; j < width; j++ {
		for at := j; at < len(panel); at += width {
			panel[at] = 0
		}
	}
}

// packRows sets word s*width+j of panel to the inputs 2s and 2s+1 of row j of w, [cols, k].
func (im *Impl) packRows(panel []float32, width int, w []float32, ldw, cols, k int) {
	const block = 64 // words of a row at a time
	rows := make([]float32, maxColumns*block)
	steps := (k + 1) / 2
	for s := 0; s < steps; s += block {
		n := min(block, steps-s)
		for j := range cols {
			im.packPairs(rows[j*block:][:n], w[j*ldw:][2*s:min(k, 2*(s+n))])
		}
		Transpose(panel[s*width:], width, rows[:], block, cols, n)
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
	checkMatrix("PackKNBF16", w, ldw, k, n)
	p := PackedWords(BF16, words, n, k)
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		for s := range p.layout.steps(k) {
			to := panel[s*width:][:width]
			p.impl.pairRows(to[:cols], w, ldw, first, 2*s, k)
			clear(to[cols:])
		}
	}
	return p
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

// ColumnsScratch returns how many floats of scratch memory Columns needs for rows of k elements.
func ColumnsScratch(rows, k int) int { return rows * (k + 1) }

// Columns converts columns row0 up to row1 of x, [K, M], which become rows. Columns that do not
// overlap may be converted at the same time, each with scratch memory of its own.
func (c *Converted) Columns(scratch, x []float32, ldx, row0, row1 int) {
	checkMatrix("conversion of columns", x, ldx, c.K, c.M)
	rows := row1 - row0
	if row0 < 0 || row1 > c.M || rows < 0 || c.dtype != BF16 || len(scratch) < ColumnsScratch(rows, c.K) {
		panic(fmt.Sprintf("kernel: conversion of columns [%d:%d] of %d to %v", row0, row1, c.M, c.dtype))
	}
	if rows == 0 {
		return
	}
	if l := c.impl.narrow.bf16; l.words == l.group { // as floats
		Transpose(scratch, c.K, x[row0:], ldx, c.K, rows)
		for r := range rows {
			c.impl.round(c.words[(row0+r)*c.ld:][:c.ld], scratch[r*c.K:][:c.K])
		}
		return
	}
	for s := range c.ld {
		c.impl.pairRows(scratch[s*rows:][:rows], x, ldx, row0, 2*s, c.K)
	}
	Transpose(c.words[row0*c.ld:], c.ld, scratch, rows, c.ld, rows)
}
