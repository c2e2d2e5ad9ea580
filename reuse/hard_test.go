package reuse_test

import (
	"math"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// TestHarden checks that the superposition with a hardened choice predicts what sampling with the
// policy does where keys are fresh, for both predictors and all selections, on a DiT and an MDT.
func TestHarden(t *testing.T) {
	const position = 2 // the first P-step
	for _, arch := range archs {
		m := modelOf(t, arch)
		batches := inputs(m, 2)
		for _, text := range []string{
			"tokencache:importance=static,keys=fresh,ratio=0.25,order=1",
			"tokencache:importance=dynamic,keys=fresh,ratio=0.25,selection=per-block,order=1",
			"tokencache:importance=static,keys=fresh,ratio=0.5,selection=grid,cell=3,order=0,cached=output",
		} {
			t.Run(string(arch)+"/"+text, func(t *testing.T) {
				policy := made(t, m, text).(*reuse.TokenCache)
				want, _, _ := outputs(t, m, policy, batches[:position+1], 1)
				pool := tensor.NewPool(1)
				defer pool.Close()
				g := tensor.NewGraph(pool)
				s := reuse.NewSuperposition(g, m.Shape(), 2, policy.Cached, policy.Order, policy.Basis)
				for p := range position {
					s.Fill(p)
					m.Forward(g, s, batches[p])
					g.Reset()
				}
				alpha := policy.Predictor.Forward(g, m, batches[position])
				if err := alpha.Harden(g, policy, m.Shape(), policy.Ratio); err != nil {
					t.Fatal(err)
				}
				s.Estimate(alpha, position)
				for i, v := range m.Forward(g, s, batches[position]).Flat() {
					if w := want[position][i]; math.Abs(float64(v-w)) > 1e-4*(1+math.Abs(float64(w))) {
						t.Fatalf("element %d: %g, sampling predicts %g", i, v, w)
					}
				}
			})
		}
	}
}
