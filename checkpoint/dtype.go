package checkpoint

import (
	"encoding/binary"
	"math"
)

// DType is the type of a tensor's elements, by the name that safetensors gives it.
type DType string

const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	F8E4 DType = "F8_E4M3" // 4 bits of exponent, 3 of fraction; no infinities
	F8E5 DType = "F8_E5M2" // the upper half of an F16
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U8   DType = "U8"
	Bool DType = "BOOL"
)

// Size returns the bytes of an element, or 0 for a type that is not read here.
func (d DType) Size() int {
	switch d {
	case F64, I64:
		return 8
	case F32, I32:
		return 4
	case F16, BF16, I16:
		return 2
	case I8, U8, Bool, F8E4, F8E5:
		return 1
	}
	return 0
}

// Float reports whether the elements are floating-point numbers that can be read.
func (d DType) Float() bool { return d.writable() || d == F8E4 || d == F8E5 }

// writable reports whether tensors of the type can be written.
func (d DType) writable() bool { return d == F64 || d == F32 || d == F16 || d == BF16 }

// floats converts raw elements, little-endian, to float32.
func (d DType) floats(dst []float32, raw []byte) {
	switch d {
	case F32:
		for i := range len(raw) / 4 {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case F64:
		for i := range len(raw) / 8 {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
		}
	case F16:
		for i := range len(raw) / 2 {
			dst[i] = Float16(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	case BF16:
		for i := range len(raw) / 2 {
			dst[i] = BFloat16(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	case F8E4:
		for i, b := range raw {
			dst[i] = float8E4[b]
		}
	case F8E5:
		for i, b := range raw {
			dst[i] = Float16(uint16(b) << 8)
		}
	default:
		for i := range len(raw) / d.Size() {
			dst[i] = float32(d.int(raw[i*d.Size():]))
		}
	}
}

// ints converts raw elements, little-endian integers.
func (d DType) ints(dst []int64, raw []byte) {
	for i := range len(raw) / d.Size() {
		dst[i] = d.int(raw[i*d.Size():])
	}
}

func (d DType) int(raw []byte) int64 {
	switch d {
	case I64:
		return int64(binary.LittleEndian.Uint64(raw))
	case I32:
		return int64(int32(binary.LittleEndian.Uint32(raw)))
	case I16:
		return int64(int16(binary.LittleEndian.Uint16(raw)))
	case I8:
		return int64(int8(raw[0]))
	default: // U8, Bool
		return int64(raw[0])
	}
}

// put appends x as an element of floating type d, rounded to the nearest, ties to even.
func (d DType) put(dst []byte, x float32) []byte {
	switch d {
	case F64:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(float64(x)))
	case F16:
		return binary.LittleEndian.AppendUint16(dst, ToFloat16(x))
	case BF16:
		return binary.LittleEndian.AppendUint16(dst, ToBFloat16(x))
	default:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
}
