package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkNarrowGemm measures products and, with them, the conversion of their activations.
func BenchmarkNarrowGemm(b *testing.B) {
	shapes := []struct {
		name string
		n, k int
	}{{"S-fc1", 1536, 384}, {"S-fc2", 384, 1536}, {"XL-qkv", 3456, 1152}, {"XL-fc2", 1152, 4608}}
	for _, impl := range Impls() {
		if !impl.Supported() || impl.Level == Generic {
			continue
		}
		b.Run(impl.String(), func(b *testing.B) {
			defer Use(Use(impl))
			for _, d := range DTypes() {
				for _, shape := range shapes {
					for _, m := range []int{32, 256} {
						b.Run(fmt.Sprintf("%v/%s/M=%d", d, shape.name, m), func(b *testing.B) {
							benchmarkNarrow(b, d, m, shape.n, shape.k)
						})
					}
				}
			}
		})
	}
}

func benchmarkNarrow(b *testing.B, d DType, m, n, k int) {
	rnd := rand.New(rand.NewPCG(1, 1))
	packed := Pack(d, randomFloats(rnd, n*k), k, n, k)
	a := randomFloats(rnd, m*k)
	g := Gemm{M: m, B: &packed, Bias: randomFloats(rnd, n), C: AlignedFloats(m * n), LDC: n}
	var x Converted
	if d == F32 {
		g.A, g.LDA = a, k
	} else {
		x = NewConverted(AlignedFloats(ConvertedLen(&packed, m)), &packed, m)
		g.X = &x
	}
	scratch := AlignedFloats(GemmScratch)
	reportOfPeak(b, d, 2*float64(m)*float64(n)*float64(k), func() {
		if d != F32 {
			x.Rows(a, k, 0, m)
		}
		g.Run(scratch, 0, m, 0, packed.Panels())
	})
}
