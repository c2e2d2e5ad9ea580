package npz

import (
	"encoding/binary"
	"fmt"
	"math"
)

// DType is the number format of an array's elements.
type DType struct {
	kind byte // f, i, u, b for bool, or U for text
	size int  // bytes
	big  bool // byte order
}

// String is the format as NumPy writes it, such as <f4, |u1, or <U9 for texts of 9 characters.
func (d DType) String() string {
	order, size := byte('<'), d.size
	if d.kind == 'U' {
		size /= 4
	}
	switch {
	case size == 1 && d.kind != 'U':
		order = '|'
	case d.big:
		order = '>'
	}
	return fmt.Sprintf("%c%c%d", order, d.kind, size)
}

func parseDType(s string) (DType, error) {
	if d, ok := parseText(s); ok {
		return d, nil
	}
	if len(s) == 3 {
		d := DType{kind: s[1], size: int(s[2] - '0'), big: s[0] == '>'}
		known := false
		switch d.kind {
		case 'f':
			known = d.size == 2 || d.size == 4 || d.size == 8
		case 'i', 'u':
			known = d.size == 1 || d.size == 2 || d.size == 4 || d.size == 8
		case 'b':
			known = d.size == 1
		}
		if known && (s[0] == '<' || s[0] == '>' || s[0] == '|' && d.size == 1) {
			return d, nil
		}
	}
	return DType{}, fmt.Errorf("dtype %q is not supported (f2, f4, f8, i1 to i8, u1 to u8, b1 and U are)", clip(s))
}

// Element is a type that arrays are read into and written from.
type Element interface {
	uint8 | int64 | float32 | float64
}

// dtypeOf is the format in which elements of type T are written.
func dtypeOf[T Element]() DType {
	switch any(*new(T)).(type) {
	case uint8:
		return DType{kind: 'u', size: 1}
	case int64:
		return DType{kind: 'i', size: 8}
	case float32:
		return DType{kind: 'f', size: 4}
	default:
		return DType{kind: 'f', size: 8}
	}
}

// convertible says whether T can hold what the format holds: floats hold any number, if rounded;
// int64 holds integers, and uint8 only its own and bool.
func convertible[T Element](d DType) error {
	ok := d.kind != 'U'
	switch any(*new(T)).(type) {
	case uint8:
		ok = d.size == 1 && d.kind != 'i'
	case int64:
		ok = ok && d.kind != 'f'
	}
	if !ok {
		return fmt.Errorf("dtype %s cannot be read as %T", d, *new(T))
	}
	return nil
}

// decode converts the elements in src, as many as dst takes.
func decode[T Element](dst []T, src []byte, d DType) error {
	var order binary.ByteOrder = binary.LittleEndian
	if d.big {
		order = binary.BigEndian
	}
	for i := range dst {
		b := src[i*d.size : (i+1)*d.size]
		var bits uint64
		switch d.size {
		case 1:
			bits = uint64(b[0])
		case 2:
			bits = uint64(order.Uint16(b))
		case 4:
			bits = uint64(order.Uint32(b))
		case 8:
			bits = order.Uint64(b)
		}
		switch d.kind {
		case 'b':
			dst[i] = T(min(bits, 1))
		case 'u':
			if _, isInt := any(dst[i]).(int64); isInt && bits > math.MaxInt64 {
				return fmt.Errorf("element %d does not fit in int64", bits)
			}
			dst[i] = T(bits)
		case 'i':
			unused := 64 - 8*d.size
			dst[i] = T(int64(bits<<unused) >> unused)
		case 'f':
			dst[i] = float[T](bits, d.size)
		}
	}
	return nil
}

// float is the number whose IEEE 754 bits are given.
func float[T Element](bits uint64, size int) T {
	switch size {
	case 2:
		return T(half(uint16(bits)))
	case 4:
		return T(math.Float32frombits(uint32(bits)))
	default:
		return T(math.Float64frombits(bits))
	}
}

// half is the number whose half-precision bits are given.
func half(bits uint16) float64 {
	sign := 1 - 2*float64(bits>>15)
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// encode appends the elements in the format of dtypeOf.
func encode[T Element](dst []byte, src []T) []byte {
	switch src := any(src).(type) {
	case []uint8:
		return append(dst, src...)
	case []int64:
		for _, v := range src {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
		}
	case []float32:
		for _, v := range src {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	case []float64:
		for _, v := range src {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
		}
	}
	return dst
}
