package reuse_test

import (
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// TestHarden checks that the superposition with a hardened choice predicts what sampling with the
// policy does, for both predictors, all selections and all kinds of keys, on every architecture.
func TestHarden(t *testing.T) {
	const position = 2 // the first P-step
	for _, arch := range archs {
		m := modelOf(t, arch)
		batches := inputs(m, 2)
		for _, text := range []string{
			"tokencache:importance=static,keys=fresh,ratio=0.25,order=1",
			"tokencache:importance=dynamic,keys=fresh,ratio=0.25,selection=per-block,order=1",
			"tokencache:importance=static,keys=fresh,ratio=0.5,selection=grid,cell=3,order=0,cached=output",
			"tokencache:importance=static,keys=forecast,ratio=0.25,order=1",
			"tokencache:importance=dynamic,keys=forecast,ratio=0.5,selection=per-block,order=1,basis=taylor",
			"tokencache:importance=dynamic,keys=cached,ratio=0.25,order=1",
		} {
			t.Run(string(arch)+"/"+text, func(t *testing.T) {
				policy := made(t, m, text).(*reuse.TokenCache)
				want, _, _ := outputs(t, m, policy, batches[:position+1], 1)
				pool := tensor.NewPool(1)
				defer pool.Close()
				g := tensor.NewGraph(pool)
				s := reuse.NewSuperposition(g, m.Shape(), 2, reuse.Superposed{
					Cached: policy.Cached,
					Keys:   policy.Keys,
					Order:  policy.Order,
					Basis:  policy.Basis,
				})
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

// TestSuperpositionGradient checks the gradient of the model's output with respect to the importances,
// where keys and values are superposed, against finite differences.
func TestSuperpositionGradient(t *testing.T) {
	const position = 2
	config := modelOf(t, dit.ArchDiT).(*dit.Model).Config
	m, err := dit.NewFrozen(config, weights(config), false)
	if err != nil {
		t.Fatal(err)
	}
	batches := inputs(m, 1)
	pool := tensor.NewPool(1)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	c := reuse.NewPredictorConfig(reuse.Static, m.Shape())
	predictor, params, err := reuse.NewTrainablePredictor(c, reuse.InitPredictor{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	s := reuse.NewSuperposition(g, m.Shape(), 1, reuse.Superposed{
		Cached: reuse.Update,
		Keys:   reuse.ForecastKeys,
		Order:  1,
		Basis:  reuse.Newton,
	})
	for p := range position {
		s.Fill(p)
		m.Forward(g, s, batches[p])
		g.Reset()
	}
	estimate := func() *tensor.Tensor {
		s.Estimate(predictor.Forward(g, m, batches[position]), position)
		return m.Forward(g, s, batches[position])
	}
	loss := func() float64 {
		defer g.Reset()
		sum := 0.0
		for i, v := range estimate().Flat() {
			sum += float64(v) * math.Sin(float64(i))
		}
		return sum
	}
	g.StartTape()
	out := estimate()
	grad := g.New(out.Rows, out.Cols)
	for i := range grad.Flat() {
		grad.Flat()[i] = float32(math.Sin(float64(i)))
	}
	g.AddGrad(out, grad)
	g.Backward()
	g.Reset()
	bias := params[slices.IndexFunc(params, func(p *tensor.Param) bool { return p.Name == "fc2.bias" })]
	for _, i := range []int{0, 5, len(bias.Value) - 1} {
		const step = 0.05
		v := bias.Value[i]
		at := func(offset float32) float64 {
			bias.Value[i] = v + offset
			predictor.Repack()
			defer func() { bias.Value[i] = v }()
			return loss()
		}
		want := (at(step) - at(-step)) / (2 * step)
		if got := float64(bias.Grad[i]); math.Abs(got-want) > 0.02*math.Abs(want)+1e-3 {
			t.Errorf("importance of token %d: gradient %g, finite difference %g", i, got, want)
		}
	}
}
