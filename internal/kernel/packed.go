package kernel

import (
	"fmt"
	"unsafe"
)

// Packed is the right-hand side of products: the weights [N outputs, K inputs] of a linear map, or any matrix in its
// place, laid out as the implementation that packed it reads them.
//
// The outputs are divided into panels, as even as whole vectors allow. A panel holds, for one input after
// another, the weights of all its outputs, padded with zeros to whole vectors.
type Packed struct {
	N, K int
	impl *Impl
	data []float32
}

// cacheLine is the alignment that packed panels want, in bytes.
const cacheLine = 64

// AlignedFloats returns n zeros that begin at a cache line, as packed matrices and scratch memory should.
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

// PackNK packs w [n, k], of rows ldw floats apart, into dst, which is kept: the weights of a linear map as usually stored.
func PackNK(dst, w []float32, ldw, n, k int) Packed {
	checkMatrix("PackNK", w, ldw, n, k)
	p := newPacked(dst, n, k)
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		Transpose(panel, width, w[first*ldw:], ldw, cols, k)
		for j := cols; j < width; j++ {
			for at := j; at < len(panel); at += width {
				panel[at] = 0
			}
		}
	}
	return p
}

// PackKN packs w [k, n], of rows ldw floats apart, into dst, which is kept: a right-hand matrix as it stands.
func PackKN(dst, w []float32, ldw, n, k int) Packed {
	checkMatrix("PackKN", w, ldw, k, n)
	p := newPacked(dst, n, k)
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

func newPacked(dst []float32, n, k int) Packed {
	if n < 1 || k < 1 {
		panic(fmt.Sprintf("kernel: packing a matrix of %d outputs and %d inputs", n, k))
	}
	size := PackedLen(n, k)
	if len(dst) < size {
		panic(fmt.Sprintf("kernel: %d floats to pack %d outputs and %d inputs, want %d", len(dst), n, k, size))
	}
	return Packed{N: n, K: k, impl: active, data: dst[:size]}
}

// Panels returns the number of panels.
func (p *Packed) Panels() int {
	ops := &p.impl.product
	return (p.N + ops.lanes*ops.vectors - 1) / (ops.lanes * ops.vectors)
}

// Panel returns the first column of the product that panel i gives, and how many columns it gives.
func (p *Packed) Panel(i int) (first, cols int) {
	lanes := p.impl.product.lanes
	vector, vectors := p.vectors(i)
	first = vector * lanes
	return first, min(vectors*lanes, p.N-first)
}

// vectors returns the first vector of columns of panel i, and how many vectors it has. Wider panels come first.
func (p *Packed) vectors(i int) (first, n int) {
	panels := p.Panels()
	if i < 0 || i >= panels {
		panic(fmt.Sprintf("kernel: panel %d of %d", i, panels))
	}
	lanes := p.impl.product.lanes
	all := (p.N + lanes - 1) / lanes
	return share(all, panels, i)
}

// panel returns the memory of panel i and its width in floats.
func (p *Packed) panel(i int) (data []float32, width int) {
	lanes := p.impl.product.lanes
	first, n := p.vectors(i)
	return p.data[first*lanes*p.K:][:n*lanes*p.K], n * lanes
}

// share divides n things into parts as even as can be, the larger ones first, and returns the first thing of part i
// and how many it has.
func share(n, parts, i int) (first, count int) {
	base, extra := n/parts, n%parts
	first, count = i*base+min(i, extra), base
	if i < extra {
		count++
	}
	return first, count
}

// checkMatrix panics unless m holds a matrix of the given size with rows ld floats apart.
func checkMatrix(what string, m []float32, ld, rows, cols int) {
	if rows < 0 || cols < 0 || ld < cols && rows > 1 {
		panic(fmt.Sprintf("kernel: %s: matrix [%d, %d] with rows %d floats apart", what, rows, cols, ld))
	}
	if rows > 0 && len(m) < (rows-1)*ld+cols {
		panic(fmt.Sprintf("kernel: %s: %d floats for a matrix [%d, %d] with rows %d floats apart", what, len(m), rows, cols, ld))
	}
}
