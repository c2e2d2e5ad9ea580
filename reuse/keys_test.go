package reuse_test

import (
	"math"
	"testing"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/seam"
)

// TestForecastKeys checks that forecast keys and values are nearer to fresh ones than cached ones
// are, where tokens change steadily, and that without an order they are the cached ones.
func TestForecastKeys(t *testing.T) {
	const base = "tokencache:importance=random,ratio=0.5,k=4,write-back=false"
	for _, arch := range []dit.Arch{dit.ArchDiT, dit.ArchMDTv2, archMiniT2I} {
		t.Run(string(arch), func(t *testing.T) {
			m := modelOf(t, arch)
			batches := slow(inputs(m, 3))
			fresh, _, _ := outputs(t, m, parse(t, base+",keys=fresh"), batches, 1)
			off := func(keys string) (sum float64) {
				got, _, _ := outputs(t, m, parse(t, base+",keys="+keys), batches, 1)
				for p := range got {
					for i, v := range got[p] {
						sum += math.Abs(float64(v - fresh[p][i]))
					}
				}
				return sum
			}
			if forecast, cached := off("forecast"), off("cached"); !(forecast < 0.5*cached) {
				t.Errorf("forecast keys are off by %g, cached ones by %g", forecast, cached)
			}
			a, _, _ := outputs(t, m, parse(t, base+",order=0,keys=forecast"), batches, 1)
			b, _, _ := outputs(t, m, parse(t, base+",order=0,keys=cached"), batches, 1)
			if diff := same(a, b); diff != "" {
				t.Errorf("order 0: %s", diff)
			}
		})
	}
}

// slow makes batches drift a tenth as fast, at timesteps that are nearly the same.
func slow(batches []*seam.Batch) []*seam.Batch {
	first := batches[0].X.Data
	for p, b := range batches {
		for i, v := range b.X.Data {
			b.X.Data[i] = first[i] + 0.1*(v-first[i])
		}
		for s := range b.T {
			b.T[s] = 500 - 0.05*float32(p)
		}
	}
	return batches
}
