package kernel

import (
	"fmt"
	"unsafe"
)

// Packed is the right-hand side of products: the weights [N outputs, K inputs] of a linear map, or
// any other matrix, in the layout of the implementation that packed it.
//
// The outputs are divided into panels, as even as whole vectors allow. A panel holds, for one input
// after another, the weights of all its outputs, padded with zeros to whole vectors.
type Packed struct {
	N, K   int
	dtype  DType
	impl   *Impl
	layout *layout
	data   []float32
	words  []float32 // data, scale and sums
	scale  []float32 // of each output, for INT8, up to whole vectors
	sums   []int32   // of each output's integers, for INT8, up to whole vectors
	wide   int       // panels of narrow+1 vectors, which come first
	panels int
	narrow int // vectors of every other panel
}

// cacheLine is the alignment of packed panels, in bytes.
const cacheLine = 64

// AlignedFloats returns n zeros that begin at a cache line, as packed matrices and scratch memory
// should.
func AlignedFloats(n int) []float32 {
	const floats = cacheLine / 4
	s := make([]float32, n+floats-1)
	past := int(uintptr(unsafe.Pointer(unsafe.SliceData(s)))%cacheLine) / 4
	skip := (floats - past) % floats
	return s[skip : skip+n : skip+n]
}

// PackedLen returns how many floats a matrix of n outputs and k inputs takes when packed.
func PackedLen(n, k int) int { return roundUp(n, active.product.lanes) * k }

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// PackNK packs w [n, k], of rows ldw floats apart, into dst, which is kept: the weights of a linear
// map as usually stored.
func PackNK(dst, w []float32, ldw, n, k int) Packed {
	checkMatrix("PackNK", w, ldw, n, k)
	p := newPacked(dst, &active.product.layout, n, k)
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		Transpose(panel, width, w[first*ldw:], ldw, cols, k)
		clearColumns(panel, width, cols)
	}
	return p
}

// PackKN packs w [k, n], of rows ldw floats apart, into dst, which is kept: an untransposed
// right-hand matrix.
func PackKN(dst, w []float32, ldw, n, k int) Packed {
	checkMatrix("PackKN", w, ldw, k, n)
	p := newPacked(dst, &active.product.layout, n, k)
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		for row := range k {
			to := panel[row*width:][:width]
			copy(to, w[row*ldw+first:][:cols])
			clear(to[cols:])
		}
	}
	return p
}

func newPacked(dst []float32, l *layout, n, k int) Packed {
	if n < 1 || k < 1 {
		panic(fmt.Sprintf("kernel: packing a matrix of %d outputs and %d inputs", n, k))
	}
	size := roundUp(n, l.lanes) * l.columnWords(k)
	if len(dst) < size {
		panic(fmt.Sprintf("kernel: %d floats to pack %d outputs and %d inputs, want %d", len(dst), n, k, size))
	}
	vectors := roundUp(n, l.lanes) / l.lanes
	panels := roundUp(vectors, l.vectors) / l.vectors
	return Packed{
		N: n, K: k, impl: active, layout: l, data: dst[:size], words: dst[:size],
		wide: vectors % panels, panels: panels, narrow: vectors / panels,
	}
}

// floatsOfLine is the number of floats in a cache line.
const floatsOfLine = cacheLine / 4

// maxAhead is the maximum size, in floats, of a panel that is prefetched while the one before it is
// in use: two of them and the rows that pass by fit into a second-level cache of 1 MiB.
const maxAhead = 96 << 10

// ahead returns panel i if it can be prefetched while another is in use, else nil.
func (p *Packed) ahead(i int) []float32 {
	if b, _ := p.panel(i); len(b) <= maxAhead {
		return b
	}
	return nil
}

// Panels returns the number of panels.
func (p *Packed) Panels() int { return p.panels }

// Panel returns the first column of the product that panel i gives, and how many columns it gives.
func (p *Packed) Panel(i int) (first, cols int) {
	vector, vectors := p.vectors(i)
	lanes := p.layout.lanes
	first = vector * lanes
	return first, min(vectors*lanes, p.N-first)
}

// vectors returns the first vector of columns of panel i, and how many vectors it has.
func (p *Packed) vectors(i int) (first, n int) {
	if i < 0 || i >= p.panels {
		panic(fmt.Sprintf("kernel: panel %d of %d", i, p.panels))
	}
	first, n = i*p.narrow+min(i, p.wide), p.narrow
	if i < p.wide {
		n++
	}
	return first, n
}

// panel returns the memory of panel i and its width in columns.
func (p *Packed) panel(i int) (data []float32, width int) {
	first, n := p.vectors(i)
	width = n * p.layout.lanes
	words := p.layout.columnWords(p.K)
	return p.data[first*p.layout.lanes*words:][:width*words], width
}

// checkMatrix panics unless m holds a matrix of the given size with rows ld floats apart.
func checkMatrix(what string, m []float32, ld, rows, cols int) {
	if rows < 0 || cols < 0 || ld < cols && rows > 1 {
		panic(fmt.Sprintf("kernel: %s: matrix [%d, %d] with rows %d floats apart", what, rows, cols, ld))
	}
	if rows > 0 && len(m) < (rows-1)*ld+cols {
		panic(fmt.Sprintf("kernel: %s: %d floats for a matrix [%d, %d] with rows %d floats apart",
			what, len(m), rows, cols, ld))
	}
}
