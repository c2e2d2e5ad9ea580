package measure

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// TestCompare checks that images, costs and steps are those of the policy, and that equal images
// count as identical.
func TestCompare(t *testing.T) {
	p, err := tokencache.Open("../testdata/dit-tiny", tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fora, err := reuse.Parse("fora:n=2")
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	req := tokencache.Request{
		Classes:  []int{0, 1, 2},
		Seed:     1,
		Sampling: tokencache.Sampling{Steps: 6, Guidance: 2},
		Policy:   fora,
		OnStep:   func(tokencache.Progress) { steps++ },
	}
	c, err := Compare(context.Background(), p, req, 2)
	if err != nil {
		t.Fatal(err)
	}
	if c.ISteps+c.PSteps != 6 || c.PSteps == 0 || c.FLOPReduction() <= 1 || c.CacheBytes == 0 || c.Seconds != 0 {
		t.Errorf("cost %+v", c.Cost)
	}
	if c.PSNRUncached.Identical != 0 || c.Baseline.Sampler != "ddim" || c.Baseline.Steps != 6 || len(c.Times) != 2 || c.Images != 3 || c.Repeat != 2 || !(c.Speedup > 0) {
		t.Errorf("%+v", c)
	}
	if len(c.Steps) != 6 || c.Steps[2].FLOPs >= c.Steps[0].FLOPs || c.UncachedStep.FLOPs < c.Steps[2].FLOPs {
		t.Errorf("steps %+v, uncached %+v", c.Steps, c.UncachedStep)
	}
	if want := 2 * 2 * 3 * 6; steps < want { // runs with and without, images, steps; and those of the warm-up
		t.Errorf("%d steps, want %d or more", steps, want)
	}
	if c.UncachedFLOPs != 3*6*c.UncachedStep.FLOPs {
		t.Errorf("%d FLOPs without the policy, %d a step", c.UncachedFLOPs, c.UncachedStep.FLOPs)
	}
	req.Policy = &reuse.Trained{
		Spec:        "fora:n=2",
		Fingerprint: p.Fingerprint(),
		Sampling:    tokencache.Sampling{Sampler: "ddim", Steps: 6},
		Provenance:  map[string]any{"seed": uint64(1)},
	}
	if c, err = Compare(context.Background(), p, req, 1); err != nil || !strings.Contains(c.Note, "images of seed 1") {
		t.Errorf("a policy that saw the images: note %q (%v)", c.Note, err)
	}
	req.Policy = reuse.None{}
	if c, err = Compare(context.Background(), p, req, 1); err != nil || c.PSNRUncached.Identical != 3 {
		t.Errorf("the uncached model against itself: %+v (%v)", c.PSNRUncached, err)
	}
	var field *tokencache.FieldError
	if _, err := Compare(context.Background(), p, req, 0); !errors.As(err, &field) || field.Field != "Repeat" {
		t.Errorf("error %v for no runs", err)
	}
	req.Policy = nil
	if _, err := Compare(context.Background(), p, req, 1); !errors.As(err, &field) || field.Field != "Policy" {
		t.Errorf("error %v without a policy", err)
	}
}

// TestConverge checks that a sampler is compared with another one and with the solution that both
// converge to, and that a sampler without one says so.
func TestConverge(t *testing.T) {
	// A small model that was trained, whose ODE is smooth.
	const model = "../testdata/cache-methods/model.safetensors"
	p, err := tokencache.Open(model, tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 2, Heads: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	req := tokencache.Request{
		Classes:  []int{0, 1, 2},
		Seed:     1,
		Sampling: tokencache.Sampling{Sampler: "unipc", Order: 3, Steps: 20, Spacing: "logsnr", Guidance: 2},
	}
	c, err := CompareWith(t.Context(), p, req, DDIM50(req.Sampling), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Converge(t.Context(), p, req); err != nil {
		t.Fatal(err)
	}
	if c.Baseline.Sampler != "ddim" || c.Baseline.Steps != 50 || c.ISteps != 20 || c.FLOPReduction() != 2.5 {
		t.Errorf("%+v against %+v", c.Cost, c.Baseline)
	}
	if c.Solution.PSNRHalf.Mean < 55 || c.Solution.Evaluations != 197 || !(c.Solution.Error < 1e-2) || c.NoSolution != "" {
		t.Errorf("solution %+v, %+v", c.Solution, c.Solution.PSNRHalf)
	}
	// A third-order solver is nearer to the solution than the 50 steps of first order that it is
	// compared with, so that these are as far from it as from the solution.
	if c.PSNRConverged.Mean < c.Baseline.PSNRConverged.Mean+3 {
		t.Errorf("to the solution %+v, DDIM %+v", c.PSNRConverged, c.Baseline.PSNRConverged)
	}
	if d := c.PSNRUncached.Mean - c.Baseline.PSNRConverged.Mean; d < -3 || d > 3 {
		t.Errorf("to DDIM %+v, DDIM to the solution %+v", c.PSNRUncached, c.Baseline.PSNRConverged)
	}

	req.Sampling = tokencache.Sampling{Sampler: "ddpm", Steps: 4}
	if c, err = CompareWith(t.Context(), p, req, DDIM50(req.Sampling), 1); err != nil {
		t.Fatal(err)
	}
	const want = "no converged solution: sampler ddpm adds noise at every step"
	if err := c.Converge(t.Context(), p, req); err != nil || c.NoSolution != want || c.Solution != nil || c.PSNRConverged != nil {
		t.Errorf("ddpm: %+v, %q (%v)", c.Solution, c.NoSolution, err)
	}

	req.RNG, req.Batch = tokencache.RNGTorch, 2
	var field *tokencache.FieldError
	if _, err := CompareWith(t.Context(), p, req, DDIM50(req.Sampling), 1); !errors.As(err, &field) || field.Field != "RNG" {
		t.Errorf("error %v for samplers that start from other noise", err)
	}
}
