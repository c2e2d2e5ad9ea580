package main

import (
	"math"
	"strings"
)

// Folds collect in four registers from sums on, so that their additions need not wait for each
// other.
const sums = vec(4)

// start sets the given number of collecting registers.
func (r *rows) start(registers int, number float64) {
	for i := range registers {
		r.fill(sums+vec(i), number)
	}
}

// reduce combines the collecting registers and their lanes, and returns the result.
func (r *rows) reduce(op operation, registers int, result string) {
	for n := registers / 2; n > 0; n /= 2 {
		for i := range vec(n) {
			r.do(op, sums+i, sums+i, sums+i+vec(n))
		}
	}
	if r.neon() {
		r.reduceNEON(op, result)
		return
	}
	if r.reg == "Z" {
		r.P("VEXTRACTF64X4 $1, Z%d, Y0", sums)
		r.P("%s Y0, Y%[2]d, Y%[2]d", op.avx, sums)
	}
	r.P("VEXTRACTF128 $1, Y%d, X0", sums)
	r.P("%s X0, X%[2]d, X%[2]d", op.avx, sums)
	for _, order := range []int{0b1110, 0b0001} {
		r.P("VPSHUFD $%d, X%d, X0", order, sums)
		r.P("%s X0, X%[2]d, X%[2]d", op.avx, sums)
	}
	r.P("VMOVSS X%d, %s", sums, r.Param(result))
	r.Ret()
}

// fold writes a function that combines what body adds to the register it is given.
func (r *rows) fold(name, signature, doc string, op operation, first float64, body func(sum vec)) {
	const registers = 4
	r.begin(name, signature, doc)
	r.start(registers, first)
	r.each(registers, func(i int) { body(sums + vec(i)) })
	_, result, _ := strings.Cut(signature, ") (")
	result, _, _ = strings.Cut(result, " ")
	r.reduce(op, registers, result)
}

func (r *rows) folds() {
	r.fold("sum", "x []float32) (sum float32", "returns the sum of x.", addFloats, 0, func(sum vec) {
		r.load(0, "x")
		r.do(addFloats, sum, sum, vec(0))
	})
	r.fold("dot", "a []float32, b []float32) (sum float32", "returns the sum of a*b.", addFloats, 0, func(sum vec) {
		r.load(0, "a")
		r.load(1, "b")
		r.do(addProduct, sum, 0, vec(1))
	})
	r.fold("l1Diff", "a []float32, b []float32) (sum float32", "returns the sum of |a-b|.", addFloats, 0, func(sum vec) {
		r.load(0, "a")
		r.load(1, "b")
		r.do(subFloats, 0, 0, vec(1))
		r.do(andBits, 0, 0, others)
		r.do(addFloats, sum, sum, vec(0))
	})
	r.fold("l1Norm", "x []float32) (sum float32", "returns the sum of |x|.", addFloats, 0, func(sum vec) {
		r.load(0, "x")
		r.do(andBits, 0, 0, others)
		r.do(addFloats, sum, sum, vec(0))
	})
	r.fold("squaresAround", "x []float32, mean float32) (sum float32",
		"returns the sum of (x-mean)².", addFloats, 0, func(sum vec) {
			r.load(0, "x")
			r.do(subFloats, 0, 0, r.scalars["mean"])
			r.outside(0, 0, 1)
			r.do(addProduct, sum, 0, vec(0))
		})
	r.fold("highest", "x []float32) (highest float32",
		"returns the highest of x, NaNs left out, or -Inf.", maxNumber, math.Inf(-1), func(highest vec) {
			r.load(0, "x")
			r.outside(0, math.Inf(-1), 1)
			r.do(maxNumber, highest, 0, highest)
		})
}
