package reuse_test

import (
	"slices"
	"testing"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// TestFormatLaws checks, of every policy on DiT, MDT, SiT and MiniT2I in each number format but
// float32, which TestConformance has, that what a sample gets depends on itself alone, bit for bit: not on the
// workers, its place in the batch or its neighbours. It checks too that the format is in use.
func TestFormatLaws(t *testing.T) {
	if testing.Short() {
		t.Skip("two number formats of all policies on all models")
	}
	for _, d := range []tensor.DType{tensor.BF16, tensor.INT8} {
		for _, arch := range archs {
			if arch == dit.ArchMDTv1 { // an MDTv2 has all of its parts
				continue
			}
			t.Run(d.String()+"/"+string(arch), func(t *testing.T) {
				t.Parallel()
				m := modelAs(t, d, arch)
				batches := inputs(m, 3)
				exact, _, _ := outputs(t, modelOf(t, arch), reuse.None{}, batches[:1], 1)
				narrow, _, _ := outputs(t, m, reuse.None{}, batches[:1], 1)
				if same(exact, narrow) == "" {
					t.Fatal("the model computes in float32")
				}
				for _, text := range policies {
					t.Run(text, func(t *testing.T) {
						got, _, _ := outputs(t, m, made(t, m, text), batches, 1)
						finitePredictions(t, &subject{got: got})
						turned, _, _ := outputs(t, m, made(t, m, text), pick(batches, turn...), 2)
						alone, _, _ := outputs(t, m, made(t, m, text), pick(batches, turn[0]), 1)
						for p := range got {
							n := len(got[p]) / 3
							of := func(s int) []float32 { return got[p][s*n : (s+1)*n] }
							for to, from := range turn {
								if !slices.Equal(turned[p][to*n:(to+1)*n], of(from)) {
									t.Fatalf("step %d: sample %d changed with its place and the workers", p, from)
								}
							}
							if !slices.Equal(alone[p], of(turn[0])) {
								t.Fatalf("step %d: sample %d changed with its neighbours", p, turn[0])
							}
						}
					})
				}
			})
		}
	}
}
