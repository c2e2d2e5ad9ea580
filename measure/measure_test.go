package measure

import (
	"context"
	"errors"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// TestCompare checks that images, costs and steps are those of the policy, and that equal images
// have no PSNR.
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
	if c.PSNR == nil || len(c.Times) != 2 || c.Images != 3 || c.Repeat != 2 || !(c.Speedup > 0) {
		t.Errorf("%+v", c)
	}
	if len(c.Steps) != 6 || c.Steps[2].FLOPs >= c.Steps[0].FLOPs || c.UncachedStep.FLOPs < c.Steps[2].FLOPs {
		t.Errorf("steps %+v, uncached %+v", c.Steps, c.UncachedStep)
	}
	if want := 2 * 2 * 3 * 6; steps < want { // runs with and without, images, steps; and those of the warm-up
		t.Errorf("%d steps, want %d or more", steps, want)
	}
	req.Policy = reuse.None{}
	if c, err = Compare(context.Background(), p, req, 1); err != nil || c.PSNR != nil {
		t.Errorf("the uncached model against itself: PSNR %v (%v)", c.PSNR, err)
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
