package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// fusedCase is an operation, and the operations that it stands for. The first outs operands are
// written to, and read too.
type fusedCase struct {
	name       string
	outs, ins  int
	run, parts func(x [][]float32)
}

var fusedCases = []fusedCase{
	{"SwiGLU", 1, 2, func(x [][]float32) { SwiGLU(x[0], x[1], x[2]) }, func(x [][]float32) {
		SiLU(x[0], x[1])
		Mul(x[0], x[0], x[2])
	}},
	{"SwiGLUGrad", 2, 3, func(x [][]float32) { SwiGLUGrad(x[0], x[1], x[2], x[3], x[4]) }, func(x [][]float32) {
		SiLU(x[1], x[2])
		Mul(x[1], x[1], x[4])
		Mul(x[0], x[3], x[4])
		SiLUGrad(x[0], x[2], x[0])
	}},
	{"ScaleMul", 1, 2, func(x [][]float32) { ScaleMul(x[0], x[1], x[2], 0.7) }, func(x [][]float32) {
		Scale(x[0], x[1], 0.7)
		Mul(x[0], x[0], x[2])
	}},
	{"RMSNormGrad", 2, 3, func(x [][]float32) { RMSNormGrad(x[0], x[1], x[2], x[3], x[4], 0.7) }, func(x [][]float32) {
		const s = float32(0.7)
		weighted, product := slices.Clone(x[3]), slices.Clone(x[3])
		Mul(weighted, weighted, x[4])
		Mul(product, product, x[2])
		AXPY(x[0], s, weighted)
		AXPY(x[0], -s*s*s*Dot(x[2], weighted)/float32(max(1, len(x[0]))), x[2])
		AXPY(x[1], s, product)
	}},
	{"Rotate", 2, 4, func(x [][]float32) { Rotate(x[0], x[1], x[2], x[3], x[4], x[5]) }, func(x [][]float32) {
		negated := slices.Clone(x[5])
		Scale(negated, negated, -1)
		Mul(x[0], x[2], x[4])
		MulAdd(x[0], x[3], negated)
		Mul(x[1], x[3], x[4])
		MulAdd(x[1], x[2], x[5])
	}},
	{"Difference", 2, 0, func(x [][]float32) { Difference(x[0], x[1], 0.7) }, func(x [][]float32) {
		fresh := slices.Clone(x[1])
		Sub(x[1], fresh, x[0])
		Scale(x[1], x[1], 0.7)
		copy(x[0], fresh)
	}},
}

// TestFusedRows checks that the operations have the bits of those that they stand for, at every
// length, and write to nothing else. Portable code sums in float64, and so may round otherwise than
// an implementation's Dot.
func TestFusedRows(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(41, 42))
		for _, c := range fusedCases {
			for _, n := range testLengths() {
				got, want := make([][]float32, c.outs+c.ins), make([][]float32, c.outs+c.ins)
				for i := range got {
					memory := randomFloats(rnd, n+1)
					got[i], want[i] = memory[:n], slices.Clone(memory)
				}
				for i := range want {
					want[i] = want[i][:n]
				}
				c.run(got)
				c.parts(want)
				same := func(x, y float32) bool { return x == y }
				if active.row.fused == nil && c.name == "RMSNormGrad" {
					same = func(x, y float32) bool { return math.Abs(float64(x-y)) <= 1e-6*math.Abs(float64(y))+1e-7 }
				}
				for i := range got {
					if !slices.EqualFunc(got[i], want[i], same) || got[i][:n+1][n] != want[i][:n+1][n] {
						t.Fatalf("%s of %d: operand %d is %v, want %v", c.name, n, i, got[i][:n+1], want[i][:n+1])
					}
				}
			}
		}
	})
}
