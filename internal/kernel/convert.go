package kernel

import (
	"fmt"
	"math"
	"unsafe"
)

// Converted is a matrix of activations in the number format of packed weights, in the layout of
// the implementation that packed them: the left-hand side of their products.
type Converted struct {
	M, K  int
	dtype DType
	impl  *Impl
	words []float32 // [M, ld], of any bits
	ld    int
	scale []float32 // of each row, for INT8
	zero  []int32   // the integer that stands for 0 in each row, for INT8
}

// ConvertedLen returns how many floats of memory m rows take that are to be multiplied with p.
func ConvertedLen(p *Packed, m int) int { return convertedLen(p.dtype, p.layout, m, p.K) }

func convertedLen(d DType, l *layout, m, k int) int {
	n := roundUp(m*l.rowWords(k), floatsOfLine)
	if d == INT8 {
		n += 2 * roundUp(m, floatsOfLine)
	}
	return n
}

// NewConverted returns a matrix of m rows for products with p, in mem, which is kept. Rows fills
// it.
func NewConverted(mem []float32, p *Packed, m int) Converted {
	if p.dtype == F32 {
		panic("kernel: conversion of activations to float32")
	}
	if m < 0 || len(mem) < ConvertedLen(p, m) {
		panic(fmt.Sprintf("kernel: %d floats to convert %d rows, want %d", len(mem), m, ConvertedLen(p, m)))
	}
	c := Converted{M: m, K: p.K, dtype: p.dtype, impl: p.impl, ld: p.layout.rowWords(p.K)}
	c.words = mem[:m*c.ld]
	if p.dtype == INT8 && m > 0 {
		mem = mem[roundUp(m*c.ld, floatsOfLine):]
		c.scale = mem[:m]
		c.zero = unsafe.Slice((*int32)(unsafe.Pointer(&mem[roundUp(m, floatsOfLine)])), m)
	}
	return c
}

// Rows converts rows from row0 up to row1 of x, which are ldx floats apart, and may overlap. Rows
// of c that are apart may be converted at the same time.
func (c *Converted) Rows(x []float32, ldx, row0, row1 int) {
	if c.M > 0 && (ldx < 0 || len(x) < (c.M-1)*ldx+c.K) {
		panic(fmt.Sprintf("kernel: conversion: %d floats for a matrix [%d, %d] with rows %d floats apart",
			len(x), c.M, c.K, ldx))
	}
	if row0 < 0 || row1 > c.M {
		panic(fmt.Sprintf("kernel: conversion of rows [%d:%d] of %d", row0, row1, c.M))
	}
	for r := row0; r < row1; r++ {
		row := x[r*ldx:][:c.K]
		if c.dtype == BF16 {
			c.impl.round(c.words[r*c.ld:][:c.ld], row)
		} else {
			c.scale[r], c.zero[r] = c.impl.quantise(c.words[r*c.ld:][:c.ld], row)
		}
	}
}

// toBF16 returns the bits of v as bfloat16, rounded to the nearest, of two to the even one.
func toBF16(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 0x40 // quiet: rounding could make infinity of it
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func fromBF16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// integers views words as integers of another size.
func integers[T uint8 | int8 | uint16](words []float32) []T {
	if len(words) == 0 {
		return nil
	}
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(&words[0])), len(words)*4/int(unsafe.Sizeof(t)))
}

// round rounds a row to bfloat16, filling dst up with zeros.
func (im *Impl) round(dst, row []float32) {
	ops := &im.narrow.convert
	done := 0
	if ops.lanes > 0 {
		done = len(row) / ops.lanes * ops.lanes
	}
	if done > 0 {
		ops.round(&dst[0], &row[0], done)
	}
	if im.narrow.bf16.words == im.narrow.bf16.group { // as floats
		for i, v := range row[done:] {
			dst[done+i] = fromBF16(toBF16(v))
		}
		clear(dst[len(row):])
		return
	}
	halves := integers[uint16](dst)
	for i, v := range row[done:] {
		halves[done+i] = toBF16(v)
	}
	clear(halves[len(row):])
}

const smallestScale = 0x1p-120

// quantise makes integers of 0 to 255 of a row, filling dst up with zeros, and returns the step
// between two integers and the one that stands for 0. The scale of a row with NaN or infinities is
// NaN, and so are its products.
func (im *Impl) quantise(dst, row []float32) (scale float32, zero int32) {
	ops := &im.narrow.convert
	done := 0
	if ops.lanes > 0 {
		done = len(row) / ops.lanes * ops.lanes
	}
	lowBits, highBits := uint32(1<<31), uint32(0)
	if done > 0 {
		lowBits, highBits = ops.extremes(&row[0], done)
	}
	for _, v := range row[done:] {
		bits := math.Float32bits(v)
		lowBits = max(lowBits, bits)
		highBits = uint32(max(int32(highBits), int32(bits)))
	}
	const infinity = 0x7f800000
	if lowBits >= 1<<31|infinity || highBits >= infinity {
		clear(dst)
		return float32(math.NaN()), 0
	}
	low, high := math.Float32frombits(lowBits), math.Float32frombits(highBits)
	scale = max(float32(high/255)-float32(low/255), smallestScale)
	inverse := 1 / scale
	zero = min(roundToInt(-low*inverse), 255)
	if done > 0 {
		ops.quantise(&dst[0], &row[0], done, inverse, zero)
	}
	if l := &im.narrow.int8; l.group >= 4 {
		bytes, offset := integers[uint8](dst), uint8(0)
		if l.signed {
			offset = 128
		}
		for i, v := range row[done:] {
			bytes[done+i] = uint8(min(max(roundToInt(v*inverse)+zero, 0), 255)) - offset
		}
		clear(bytes[len(row):])
		return scale, zero
	}
	halves := integers[uint16](dst)
	for i, v := range row[done:] {
		halves[done+i] = uint16(min(max(roundToInt(v*inverse)+zero, 0), 255))
	}
	clear(halves[len(row):])
	return scale, zero
}

// roundToInt rounds to the nearest integer, of two to the even one.
func roundToInt(v float32) int32 { return int32(math.RoundToEven(float64(v))) }
