package kernel

import (
	"math"
	"runtime"
)

// genericNarrow is the portable implementation: pairs of inputs, rows rounded to bfloat16 as
// floats, and integers of 16 bits.
var genericNarrow = narrowOps{
	bf16: layout{
		lanes: genericLanes, vectors: 1, rows: genericRows,
		group: 2, words: 2, column: 4, run: tileBF16Generic,
	},
	int8: layout{
		lanes: genericLanes, vectors: 1, rows: genericRows,
		group: 2, words: 1, column: 2, run: tileINT8Generic,
	},
	bf16Peak: genericPeak,
	int8Peak: genericINT8Peak,
}

// runBF16Generic computes a tile of bfloat16: the specification of the assembly. Every product is
// exact as a float32, so that adding it rounds once, whether it is fused or not; VDPBF16PS adds the
// two products of a pair before the sum, and takes numbers below the normal ones as 0.
func (t *tile) runBF16Generic() {
	for r := range t.rows {
		var sums [genericLanes]float32
		copy(sums[:t.tail], t.bias)
		if t.add {
			for j, c := range t.c[r*t.ldc:][:t.tail] {
				sums[j] += c
			}
		}
		b := t.b
		for _, tap := range t.taps {
			a := t.a[r*t.lda+tap:][:2*t.k]
			for s := range t.k {
				a0, a1 := a[2*s], a[2*s+1]
				for j := range sums {
					pair := math.Float32bits(b[j])
					sums[j] += float32(a0 * math.Float32frombits(pair<<16))
					sums[j] += float32(a1 * math.Float32frombits(pair&0xffff0000))
				}
				b = b[genericLanes:]
			}
		}
		t.finishGeneric(r, &sums)
	}
}

// runINT8Generic computes a tile of int8: the specification of the assembly, to the bit.
func (t *tile) runINT8Generic() {
	for r := range t.rows {
		var sums [genericLanes]int32
		a := integers[uint16](t.a[r*t.lda:][:t.k])
		b := integers[int8](t.b)
		for s := range t.k {
			a0, a1 := int32(a[2*s]), int32(a[2*s+1])
			for j := range sums {
				sums[j] += a0*int32(b[2*j]) + a1*int32(b[2*j+1])
			}
			b = b[2*genericLanes:]
		}
		var floats [genericLanes]float32
		for j := range t.tail {
			y := float32(float32(sums[j]-t.rowZero[r]*t.sums[j])*t.rowScale[r]) * t.scale[j]
			if t.bias != nil {
				y = float32(y) + t.bias[j]
			}
			floats[j] = y
		}
		t.finishGeneric(r, &floats)
	}
}

// finishGeneric gates the sums of a row and adds the residual if there is one, and stores them.
func (t *tile) finishGeneric(r int, sums *[genericLanes]float32) {
	to := t.c[r*t.ldc:][:t.tail]
	if t.residual == nil {
		copy(to, sums[:])
		return
	}
	residual, gate := t.residual[r*t.ldresidual:][:t.tail], t.gate[r][:t.tail]
	for j := range to {
		to[j] = fusedMultiplyAdd(gate[j], sums[j], residual[j])
	}
}

// fusedMultiplyAdd returns x*y + z, rounded once.
func fusedMultiplyAdd(x, y, z float32) float32 {
	product := float64(x) * float64(y) // exact
	sum := product + float64(z)
	// The sum rounded to float64 could lie between two float32 when the exact one does not: an odd
	// last bit in place of what was rounded away keeps it on its side.
	back := sum - product
	rest := (product - (sum - back)) + (float64(z) - back)
	if bits := math.Float64bits(sum); rest != 0 && bits&1 == 0 && !math.IsInf(sum, 0) {
		if (rest > 0) == (sum > 0) {
			bits++
		} else {
			bits--
		}
		sum = math.Float64frombits(bits)
	}
	return float32(sum)
}

func genericINT8Peak(rounds int) int {
	const chains = 12
	var sums [chains]int32
	x, y := int32(rounds&127), int32(rounds&63)
	for range rounds {
		for i := range sums {
			sums[i] += x * y
		}
	}
	runtime.KeepAlive(sums)
	return 2 * chains
}
