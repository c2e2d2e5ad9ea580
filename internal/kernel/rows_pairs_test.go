package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestPairs checks that rows are rounded to bfloat16 and added from it as their elements one by one
// would be.
func TestPairs(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(31, 32))
		for n := 0; n <= 140; n += 2 {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				rows, dsts := newGuard(t, n), newGuard(t, n/2)
				x, dst := rows.slice(n), dsts.slice(PairsLen(n))
				for i := range x {
					x[i] = float32(rnd.NormFloat64() * math.Exp2(float64(rnd.IntN(40)-20)))
				}
				if n > 4 {
					x[0], x[1], x[n-1] = math.Float32frombits(0x3f808000), float32(math.Inf(1)), float32(math.NaN())
				}
				PackPairs(dst, x)
				dsts.check(t, "packed", 1, n/2, n/2)
				sum := newGuard(t, n).slice(n)
				fillRandom(rnd, sum)
				want := make([]float64, n)
				for i, v := range x {
					bits := uint16(math.Float32bits(dst[i%(n/2)]) >> (i / (n / 2) * 16))
					if exact := toBF16(v); bits != exact {
						t.Fatalf("element %d, %g, became %04x, want %04x", i, v, bits, exact)
					}
					want[i] = float64(sum[i]) + float64(testScale)*float64(math.Float32frombits(uint32(bits)<<16))
				}
				AXPYPairs(sum, testScale, dst)
				for i, got := range sum {
					w := want[i]
					if !(math.Abs(float64(got)-w) <= unit*math.Abs(w)*1.0001) && !(math.IsNaN(w) && got != got) && !math.IsInf(w, 0) {
						t.Fatalf("sum %d is %v, want %v", i, got, w)
					}
				}
			})
		}
		mustPanic(t, func() { PackPairs(make([]float32, 2), make([]float32, 5)) })
		mustPanic(t, func() { AXPYPairs(make([]float32, 3), 1, make([]float32, 2)) })
	})
}
