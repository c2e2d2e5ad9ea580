package tokencache_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
)

// distance is the largest difference of the latents of images.
func distance(a, b []tokencache.Image) float64 {
	d := 0.0
	for i := range a {
		for k, v := range a[i].Latents {
			d = max(d, math.Abs(float64(v)-float64(b[i].Latents[k])))
		}
	}
	return d
}

// trainedSmall is a small model that was trained, whose ODE is smooth.
func trainedSmall(t *testing.T) *tokencache.Pipeline {
	t.Helper()
	o := tokencache.Options{VAE: "testdata/vae-tiny", Threads: 2, Heads: 4}
	p, err := tokencache.Open("testdata/cache-methods/model.safetensors", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestConverged checks that solvers approach the converged solution as their steps grow, that it
// does not depend on them, and that its error is told.
func TestConverged(t *testing.T) {
	p := trainedSmall(t)
	req := tokencache.Request{
		Classes:  []int{1, 4, 7},
		Seed:     3,
		Policy:   policy(t, "fora:n=2"), // is not used
		Sampling: tokencache.Sampling{Steps: 10, Guidance: 1.5},
	}
	steps := 0
	req.OnStep = func(s tokencache.Progress) { steps++ }
	c, err := p.Converged(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Half) != 3 || distance(c.Half, c.Images) != c.Error {
		t.Errorf("%d images with half the steps, %g off", len(c.Half), distance(c.Half, c.Images))
	}
	if c.Evaluations != 197 || c.Stats.Steps != 197 || c.Stats.PSteps != 0 || len(c.Images) != 3 || steps != 3*197 {
		t.Errorf("%d evaluations, %d steps told, %+v", c.Evaluations, steps, c.Stats)
	}
	// The network itself is not smooth where there is little noise: latents are about 1.
	if !(c.Error > 0 && c.Error < 1e-2) {
		t.Errorf("error %g", c.Error)
	}
	req.OnStep, req.Policy = nil, nil
	last := math.Inf(1)
	for _, n := range []int{10, 20, 40} {
		req.Sampling = tokencache.Sampling{Sampler: "unipc", Order: 3, Steps: n, Spacing: "logsnr", Guidance: 1.5}
		r, err := p.Generate(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		d := distance(r.Images, c.Images)
		t.Logf("%d steps: %.2g off; the solution's error is %.2g", n, d, c.Error)
		if d > last/2 {
			t.Errorf("%d steps are %.2g off, half as many %.2g", n, d, last)
		}
		last = d
	}
	again, err := p.Converged(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	sameImages(t, "of another sampler", again.Images, c.Images)
}

// TestConvergedRequest checks that images that are skipped are not made, that OnImage receives the
// others, and that samplers that draw noise and requests that are cancelled are told.
func TestConvergedRequest(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 1})
	req := tokencache.Request{
		Classes:  []int{1, 2, 3},
		Seed:     3,
		Sampling: tokencache.Sampling{Steps: 4},
		Skip:     func(i int) bool { return i == 1 },
	}
	var got []int
	req.OnImage = func(m tokencache.Image) error { got = append(got, m.Index); return nil }
	c, err := p.Converged(t.Context(), req)
	if slices.Sort(got); err != nil || !slices.Equal(got, []int{0, 2}) || len(c.Images) != 0 || c.Error == 0 || len(c.Half) != 2 {
		t.Errorf("images %v, %+v (%v)", got, c, err)
	}
	noisy := req
	noisy.Sampler = "ddpm"
	var stochastic *diffusion.StochasticError
	if _, err := p.Converged(t.Context(), noisy); !errors.As(err, &stochastic) {
		t.Errorf("error %v for ddpm", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req.OnStep = func(tokencache.Progress) { cancel() }
	if _, err := p.Converged(ctx, req); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v for a cancelled request", err)
	}
}

// TestConvergedTorchNoise checks that the starting noise is the sampler's where its own draws
// decide what later batches start from.
func TestConvergedTorchNoise(t *testing.T) {
	p := small(t, tokencache.Options{Threads: 1})
	req := tokencache.Request{
		Classes:  []int{1, 2, 3},
		Seed:     3,
		Batch:    2,
		Sampling: tokencache.Sampling{Steps: 3, RNG: tokencache.RNGTorch},
	}
	start := func(states map[int][]float32) func(index, position int, x []float32) {
		return func(index, position int, x []float32) {
			if position == 0 && states[index] == nil {
				states[index] = slices.Clone(x)
			}
		}
	}
	want, got := map[int][]float32{}, map[int][]float32{}
	req.OnState = start(want)
	if _, err := p.Generate(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	req.OnState = start(got)
	if _, err := p.Converged(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	for i := range req.Classes {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("image %d starts from other noise", i)
		}
	}
}
