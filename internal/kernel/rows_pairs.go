package kernel

import "fmt"

// PairsLen returns how many floats, of any bits, a row of n floats takes in bfloat16; n must be even.
func PairsLen(n int) int { return n / 2 }

// PackPairs writes x to dst in bfloat16 (a NaN that arithmetic made stays one), rounding to
// nearest, ties to even: word i has element i of x in its lower half and element i+len(x)/2 in its
// upper half. The number of elements is even.
func PackPairs(dst, x []float32) {
	lo, hi := halves("PackPairs", x, dst)
	if len(dst) > 0 {
		active.row.packPairs(dst, lo, hi)
	}
}

// AXPYPairs adds s times a row that PackPairs wrote to dst, rounding each sum once.
func AXPYPairs(dst []float32, s float32, x []float32) {
	lo, hi := halves("AXPYPairs", dst, x)
	if len(x) > 0 {
		active.row.axpyPairs(lo, hi, x, s)
	}
}

// halves divides a row, and panics unless there is a word for each two elements.
func halves(what string, row, words []float32) (lo, hi []float32) {
	n := len(words)
	if len(row) != 2*n {
		panic(fmt.Sprintf("kernel: %s of %d floats and %d words", what, len(row), n))
	}
	return row[:n], row[n:]
}
