package kernel

import (
	"fmt"
	"math"
	"unsafe"
)

// Pack packs w [n, k], of rows ldw floats apart, for products of a number format.
func Pack(d DType, w []float32, ldw, n, k int) Packed {
	checkMatrix("packing", w, ldw, n, k)
	words := AlignedFloats(WordsLen(d, n, k))
	switch p := PackedWords(d, words, n, k); d {
	case BF16:
		p.packBF16(w, ldw)
		return p
	case INT8:
		p.packINT8(w, ldw)
		return p
	}
	return PackNK(words, w, ldw, n, k)
}

// layoutOf returns the layout of a number format in the implementation in use.
func layoutOf(d DType) *layout {
	if d == F32 {
		return &active.product.layout
	}
	return active.narrow.layout(d)
}

// Layout names the layout of packed matrices of a number format: what was packed in one layout
// can be used by every implementation that has the same.
func Layout(d DType) string {
	l := layoutOf(d)
	return fmt.Sprintf("%v %dx%d group %d column %d", d, l.lanes, l.vectors, l.group, l.column)
}

// WordsLen returns how many words a matrix of n outputs and k inputs takes.
func WordsLen(d DType, n, k int) int {
	l := layoutOf(d)
	size := roundUp(n, l.lanes) * l.columnWords(k)
	if d == INT8 {
		size += 2 * roundUp(n, l.lanes)
	}
	return size
}

// PackedWords returns the matrix that has been packed into words: see Packed.Words. It keeps them,
// and checks nothing but their number.
func PackedWords(d DType, words []float32, n, k int) Packed {
	if len(words) != WordsLen(d, n, k) {
		panic(fmt.Sprintf("kernel: %d words of a packed matrix of %d outputs and %d inputs, want %d",
			len(words), n, k, WordsLen(d, n, k)))
	}
	l := layoutOf(d)
	p := newPacked(words, l, n, k)
	p.dtype, p.words = d, words
	if d == INT8 {
		columns := roundUp(n, l.lanes)
		p.scale = words[len(p.data):][:columns]
		p.sums = unsafe.Slice((*int32)(unsafe.Pointer(&words[len(p.data)+columns])), columns)
	}
	return p
}

// Words returns all of the matrix's memory, of any bits.
func (p *Packed) Words() []float32 { return p.words }

// DType returns the number format of the matrix.
func (p *Packed) DType() DType { return p.dtype }

// Bytes returns the memory that the matrix takes.
func (p *Packed) Bytes() int64 { return 4 * int64(len(p.words)) }

// packBF16 packs groups of inputs: the first is the lower half of a word.
func (p *Packed) packBF16(w []float32, ldw int) {
	group := p.layout.group
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		halves := integers[uint16](panel)
		for j := range cols {
			row := w[(first+j)*ldw:][:p.K]
			for at, v := range row {
				halves[group*(at/group*width+j)+at%group] = toBF16(v)
			}
		}
	}
}

// packINT8 packs groups of inputs. An output's weights are multiples of 1/127 of the one of largest
// magnitude; NaN or infinities make its scale NaN.
func (p *Packed) packINT8(w []float32, ldw int) {
	l := p.layout
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		bytes := integers[int8](panel)
		for j := range cols {
			row := w[(first+j)*ldw:][:p.K]
			scale, inverse := weightScale(row)
			p.scale[first+j] = scale
			sum := int32(0)
			for at, v := range row {
				q := min(max(roundToInt(v*inverse), -127), 127)
				bytes[l.group*(at/l.group*width+j)+at%l.group] = int8(q)
				sum += q
			}
			p.sums[first+j] = sum
		}
	}
}

// weightScale returns the step between two integers that stand for an output's weights, and its
// inverse.
func weightScale(row []float32) (scale, inverse float32) {
	var magnitude uint32
	for _, v := range row {
		magnitude = max(magnitude, math.Float32bits(v)&0x7fffffff)
	}
	const infinity = 0x7f800000
	if magnitude >= infinity {
		return float32(math.NaN()), 0
	}
	scale = max(math.Float32frombits(magnitude)/127, smallestScale)
	return scale, 1 / scale
}
