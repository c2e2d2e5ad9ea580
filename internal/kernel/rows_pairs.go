package kernel

import "fmt"

// PairsLen returns how many floats, of any bits, a row of n floats takes in bfloat16; n must be even.
func PairsLen(n int) int { return n / 2 }

// PackPairs writes x to dst in bfloat16 (a NaN that arithmetic made stays one), rounding to
// nearest, ties to even: word i has element i of x in its lower half and element i+len(x)/2 in its
// upper half. The number of elements is even.
func PackPairs(dst, x []float32) {
	lo, hi := halves("PackPairs", x, dst)
	PackPairHalves(dst, lo, hi)
}

// PackPairHalves is PackPairs of a row whose halves are apart.
func PackPairHalves(dst, lo, hi []float32) {
	sameLength("PackPairHalves", dst, lo)
	sameLength("PackPairHalves", dst, hi)
	if len(dst) > 0 {
		active.row.packPairs(dst, lo, hi)
	}
}

// AXPYPairs adds s times a row that PackPairs wrote to dst, rounding each sum once.
func AXPYPairs(dst []float32, s float32, x []float32) {
	lo, hi := halves("AXPYPairs", dst, x)
	AXPYPairHalves(lo, hi, s, x)
}

// AXPYPairHalves is AXPYPairs to a row whose halves are apart.
func AXPYPairHalves(lo, hi []float32, s float32, x []float32) {
	sameLength("AXPYPairHalves", lo, x)
	sameLength("AXPYPairHalves", hi, x)
	if len(x) > 0 {
		active.row.axpyPairs(lo, hi, x, s)
	}
}

// SumSquaresPairs returns the sum of the squares of a row that PackPairs wrote.
func SumSquaresPairs(x []float32) float32 {
	const most = 256
	var lo, hi [most]float32
	var sum float32
	for ; len(x) > 0; x = x[min(len(x), most):] {
		n := min(len(x), most)
		clear(lo[:n])
		clear(hi[:n])
		AXPYPairHalves(lo[:n], hi[:n], 1, x[:n])
		sum += SumSquares(lo[:n]) + SumSquares(hi[:n])
	}
	return sum
}

// halves divides a row, and panics unless there is a word for each two elements.
func halves(what string, row, words []float32) (lo, hi []float32) {
	n := len(words)
	if len(row) != 2*n {
		panic(fmt.Sprintf("kernel: %s of %d floats and %d words", what, len(row), n))
	}
	return row[:n], row[n:]
}
