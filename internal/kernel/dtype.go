package kernel

import (
	"fmt"
	"slices"
	"strings"
)

// DType is the number format of the operands of a product. Results, and everything else, are
// float32.
type DType int

const (
	F32 DType = iota
	// BF16 rounds weights and activations to bfloat16, to the nearest and of two to the even one.
	// Products are added in float32.
	BF16
	// INT8 makes signed integers of the weights, with a scale for each output, and unsigned ones of
	// the activations, with a scale and a zero point for each row. Sums are exact.
	INT8
)

var dtypeNames = [...]string{F32: "f32", BF16: "bf16", INT8: "int8"}

// DTypes lists all number formats.
func DTypes() []DType { return []DType{F32, BF16, INT8} }

func (d DType) String() string {
	if d < 0 || int(d) >= len(dtypeNames) {
		return fmt.Sprintf("DType(%d)", int(d))
	}
	return dtypeNames[d]
}

// ParseDType is the inverse of DType.String.
func ParseDType(s string) (DType, error) {
	if d := slices.Index(dtypeNames[:], strings.ToLower(s)); d >= 0 {
		return DType(d), nil
	}
	return 0, fmt.Errorf("unknown number format %q: want one of %s", s, strings.Join(dtypeNames[:], ", "))
}

// layout is how one implementation lays out the operands of products of one number format. A step
// of its innermost loop multiplies inputs as a group.
type layout struct {
	lanes   int // columns in a vector
	vectors int // maximum of a panel
	rows    int // maximum of a tile

	group  int  // inputs of a step
	words  int  // 4-byte words of a row of A in a step
	column int  // bytes of a column of a panel in a step
	signed bool // bytes of A for INT8 are less by 128 than the integers they stand for
	run    tileKind
}

// steps returns how many steps k inputs take. A column of a panel is whole words.
func (l *layout) steps(k int) int {
	return roundUp(roundUp(k, l.group)/l.group, max(1, 4/l.column))
}

// columnWords returns the words of a column of a panel of k inputs.
func (l *layout) columnWords(k int) int { return l.steps(k) * l.column / 4 }

// rowWords returns the words of a row of A of k inputs.
func (l *layout) rowWords(k int) int { return l.steps(k) * l.words }

// tileKind names the routine that computes a tile.
type tileKind int

const (
	tileGeneric tileKind = iota
	tileF32AVX2
	tileF32AVX512
	tileBF16Generic
	tileBF16WideAVX2
	tileBF16WideAVX512
	tileBF16DotOfAVX512
	tileINT8Generic
	tileINT8WideAVX2
	tileINT8WideAVX512
	tileINT8DotOfAVX512
	tileF32NEON
	tileBF16WideNEON
	tileBF16MatrixOfNEON
	tileINT8WideNEON
	tileINT8DotOfNEON
	tileINT8MatrixOfNEON
)

// narrowOps is what one implementation brings to products of bfloat16 and int8.
type narrowOps struct {
	bf16, int8         layout
	bf16Peak, int8Peak func(rounds int) (flops int)
	convert            convertOps
}

// convertOps converts activations. N is a positive multiple of lanes.
type convertOps struct {
	lanes int
	// extremes returns the bits of the lowest float, or -0, and of the highest, or +0.
	extremes func(x *float32, n int) (low, high uint32)
	// round and quantise write the words of the layouts, and pack and pair words of bfloat16: of two
	// neighbours of a row, or of one element of each of two rows, the first in the lower half.
	round    func(dst, x *float32, n int)
	pack     func(dst, x *float32, n int) // nil leaves it to packPairs
	pair     func(dst, x, y *float32, n int)
	quantise func(dst, x *float32, n int, inverse float32, zero int32)
}

// layout returns the layout of operands of a number format.
func (n *narrowOps) layout(d DType) *layout {
	if d == BF16 {
		return &n.bf16
	}
	return &n.int8
}
