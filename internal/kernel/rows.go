package kernel

import (
	"fmt"
	"math"
)

// rowOps is one implementation of the operations over rows: maps, which write elements, and folds,
// which return a number. All slices of a call have the same length, and it is not 0. The order of
// additions differs between implementations but depends only on the length.
type rowOps struct {
	add, sub  func(dst, a, b []float32)
	mul       func(dst, a, b []float32)
	mulAdd    func(dst, c, a, b []float32) // a*b + c, rounded once
	scale     func(dst, x []float32, s float32)
	axpy      func(dst, x []float32, s float32)
	blend     func(dst, a, b []float32, alpha, beta float32)
	relu      func(dst, x []float32)
	exp       func(dst, x []float32)
	tanh      func(dst, x []float32)
	gelu      func(dst, x []float32)
	silu      func(dst, x []float32)
	normalise func(dst, x []float32, mean, inverse float32)
	modulate  func(dst, x, shift, scale []float32, mean, inverse float32)
	expSum    func(dst, x []float32, highest, scale float32) (sum float32)
	// exp2Sum sets dst to 2**(scale*x + shift), the exponent being below 128, and returns the sum.
	// What is below 2**-126 may become that.
	exp2Sum func(dst, x []float32, scale, shift float32) (sum float32)

	sum           func(x []float32) float32
	dot           func(a, b []float32) float32
	l1Diff        func(a, b []float32) float32
	l1Norm        func(x []float32) float32
	squaresAround func(x []float32, mean float32) float32
	highest       func(x []float32) float32

	geluGrad    func(dst, x, dy []float32)
	siluGrad    func(dst, x, dy []float32)
	softmaxGrad func(dst, p, dp []float32, mean, scale float32)
	adamW       func(param, m, v, grad []float32, beta1, rest1, beta2, rest2, keep, step, root, eps float32)

	packPairs func(dst, lo, hi []float32)
	axpyPairs func(lo, hi, x []float32, s float32)

	fused *fusedOps // nil leaves them to portable code over the operations above
}

// The operations over rows panic unless their slices have equal lengths. The destination may be the
// same memory as any operand, but must not partly overlap one. Empty slices are allowed; their sums
// are 0.

// sameLength panics if two slices of an operation differ in length.
func sameLength(what string, a, b []float32) {
	if len(a) != len(b) {
		panic(fmt.Sprintf("kernel: %s of slices of %d and %d floats", what, len(a), len(b)))
	}
}

// Add sets dst to a + b.
func Add(dst, a, b []float32) {
	sameLength("Add", dst, a)
	sameLength("Add", dst, b)
	if len(dst) > 0 {
		active.row.add(dst, a, b)
	}
}

// Sub sets dst to a - b.
func Sub(dst, a, b []float32) {
	sameLength("Sub", dst, a)
	sameLength("Sub", dst, b)
	if len(dst) > 0 {
		active.row.sub(dst, a, b)
	}
}

// Mul sets dst to a * b, element by element.
func Mul(dst, a, b []float32) {
	sameLength("Mul", dst, a)
	sameLength("Mul", dst, b)
	if len(dst) > 0 {
		active.row.mul(dst, a, b)
	}
}

// MulAdd adds a * b to dst, element by element, rounding once.
func MulAdd(dst, a, b []float32) { mulAdd("MulAdd", dst, dst, a, b) }

// GateResidual sets dst to residual + gate*y, rounding once, as EpilogueGateResidual does.
func GateResidual(dst, residual, gate, y []float32) { mulAdd("GateResidual", dst, residual, gate, y) }

// ScaleShift sets dst to x*scale + shift, element by element, rounding once.
func ScaleShift(dst, x, scale, shift []float32) { mulAdd("ScaleShift", dst, shift, x, scale) }

func mulAdd(what string, dst, c, a, b []float32) {
	sameLength(what, dst, c)
	sameLength(what, dst, a)
	sameLength(what, dst, b)
	if len(dst) > 0 {
		active.row.mulAdd(dst, c, a, b)
	}
}

// Scale sets dst to s * x.
func Scale(dst, x []float32, s float32) {
	sameLength("Scale", dst, x)
	if len(dst) > 0 {
		active.row.scale(dst, x, s)
	}
}

// AXPY adds s * x to dst.
func AXPY(dst []float32, s float32, x []float32) {
	sameLength("AXPY", dst, x)
	if len(dst) > 0 {
		active.row.axpy(dst, x, s)
	}
}

// Blend sets dst to alpha*fresh + (1-alpha)*cached.
func Blend(dst []float32, alpha float32, fresh, cached []float32) {
	sameLength("Blend", dst, fresh)
	sameLength("Blend", dst, cached)
	if len(dst) > 0 {
		active.row.blend(dst, fresh, cached, alpha, 1-alpha)
	}
}

// Sum returns the sum of x.
func Sum(x []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	return active.row.sum(x)
}

// Dot returns the sum of a * b.
func Dot(a, b []float32) float32 {
	sameLength("Dot", a, b)
	if len(a) == 0 {
		return 0
	}
	return active.row.dot(a, b)
}

// SumSquares returns the sum of x * x.
func SumSquares(x []float32) float32 { return Dot(x, x) }

// L1Diff returns the sum of |a - b|.
func L1Diff(a, b []float32) float32 {
	sameLength("L1Diff", a, b)
	if len(a) == 0 {
		return 0
	}
	return active.row.l1Diff(a, b)
}

// L1Norm returns the sum of |x|. It has the bits of L1Diff between x and zeros.
func L1Norm(x []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	return active.row.l1Norm(x)
}

// ReLU sets dst to max(x, 0). NaN remains NaN.
func ReLU(dst, x []float32) {
	sameLength("ReLU", dst, x)
	if len(dst) > 0 {
		active.row.relu(dst, x)
	}
}

// Exp sets dst to exp(x).
func Exp(dst, x []float32) {
	sameLength("Exp", dst, x)
	if len(dst) > 0 {
		active.row.exp(dst, x)
	}
}

// Tanh sets dst to tanh(x).
func Tanh(dst, x []float32) {
	sameLength("Tanh", dst, x)
	if len(dst) > 0 {
		active.row.tanh(dst, x)
	}
}

// GELU sets dst to the tanh form of GELU, 0.5*x*(1+tanh(sqrt(2/π)*(x+0.044715*x³))). That of -Inf
// is NaN.
func GELU(dst, x []float32) {
	sameLength("GELU", dst, x)
	if len(dst) > 0 {
		active.row.gelu(dst, x)
	}
}

// SiLU sets dst to x / (1+exp(-x)). That of -Inf is NaN.
func SiLU(dst, x []float32) {
	sameLength("SiLU", dst, x)
	if len(dst) > 0 {
		active.row.silu(dst, x)
	}
}

// Softmax sets dst to the softmax of scale*x. Scale must not be negative. If an element of x is
// NaN, or the highest one infinite, dst is NaN.
func Softmax(dst, x []float32, scale float32) {
	sameLength("Softmax", dst, x)
	if len(dst) == 0 {
		return
	}
	row := &active.row
	sum := row.expSum(dst, x, row.highest(x), scale)
	row.scale(dst, dst, 1/sum)
}

// LayerNormModulate sets dst to (x-mean)/sqrt(variance+eps)*(1+scale) + shift, the mean and the
// biased variance being those of x. Shift and scale may both be nil, for zeros.
func LayerNormModulate(dst, x, shift, scale []float32, eps float32) {
	sameLength("LayerNormModulate", dst, x)
	modulated := shift != nil || scale != nil
	if modulated {
		sameLength("LayerNormModulate", dst, shift)
		sameLength("LayerNormModulate", dst, scale)
	}
	if len(dst) == 0 {
		return
	}
	row := &active.row
	n := float32(len(x))
	mean := row.sum(x) / n
	variance := row.squaresAround(x, mean) / n
	inverse := float32(1 / math.Sqrt(float64(variance+eps)))
	if modulated {
		row.modulate(dst, x, shift, scale, mean, inverse)
	} else {
		row.normalise(dst, x, mean, inverse)
	}
}
