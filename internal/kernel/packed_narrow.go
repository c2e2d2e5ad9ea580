package kernel

import "math"

// Pack packs w [n, k], of rows ldw floats apart, for products of a number format.
func Pack(d DType, w []float32, ldw, n, k int) Packed {
	switch d {
	case BF16:
		return packBF16(w, ldw, n, k)
	case INT8:
		return packINT8(w, ldw, n, k)
	}
	return PackNK(AlignedFloats(PackedLen(n, k)), w, ldw, n, k)
}

// DType returns the number format of the matrix.
func (p *Packed) DType() DType { return p.dtype }

// Bytes returns the memory that the matrix takes.
func (p *Packed) Bytes() int64 { return 4 * int64(len(p.data)+len(p.scale)+len(p.sums)) }

func newNarrow(d DType, n, k int) Packed {
	l := active.narrow.layout(d)
	p := newPacked(AlignedFloats(roundUp(n, l.lanes)*l.columnWords(k)), l, n, k)
	p.dtype = d
	return p
}

// packBF16 packs pairs of inputs: the first is the lower half of a word.
func packBF16(w []float32, ldw, n, k int) Packed {
	checkMatrix("packing to bfloat16", w, ldw, n, k)
	p := newNarrow(BF16, n, k)
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		halves := integers[uint16](panel)
		for j := range cols {
			row := w[(first+j)*ldw:][:k]
			for at, v := range row {
				halves[2*(at/2*width+j)+at%2] = toBF16(v)
			}
		}
	}
	return p
}

// packINT8 packs groups of inputs. An output's weights are multiples of 1/127 of the one of largest
// magnitude; NaN or infinities make its scale NaN.
func packINT8(w []float32, ldw, n, k int) Packed {
	checkMatrix("packing to int8", w, ldw, n, k)
	p := newNarrow(INT8, n, k)
	l := p.layout
	p.scale, p.sums = AlignedFloats(roundUp(n, l.lanes)), make([]int32, roundUp(n, l.lanes))
	for i := range p.Panels() {
		first, cols := p.Panel(i)
		panel, width := p.panel(i)
		bytes := integers[int8](panel)
		for j := range cols {
			row := w[(first+j)*ldw:][:k]
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
	return p
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
