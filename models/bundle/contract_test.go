package bundle_test

import (
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/fashion"
	"github.com/tokencache/tokencache/reuse"
)

// TestForPSNR checks that the policy that is taken for a PSNR keeps it, that none that keeps it
// needs fewer operations, and that other samplings have none.
func TestForPSNR(t *testing.T) {
	pipeline, _, err := models.Open("fashion")
	if err != nil {
		t.Fatal(err)
	}
	defer pipeline.Close()
	s := diffusion.Sampling{Sampler: "ddim", Steps: 50, Guidance: 1.5}
	list, err := fashion.Bundle.Policies()
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]bool{}
	for psnr := 30.0; psnr < 60; psnr += 0.5 {
		best, promise := 0.0, reuse.Promise{MinPSNR: psnr}
		for _, p := range list {
			if p.Contract == nil {
				continue
			}
			if point, ok := p.Contract.For(promise); ok {
				best = max(best, point.FLOPs)
			}
		}
		p, err := fashion.Bundle.ForPSNR(pipeline.Setting(s), promise)
		switch {
		case err != nil:
			t.Fatal(err)
		case p == nil && best > 0:
			t.Errorf("%g dB: no policy, one keeps it at %g times fewer operations", psnr, best)
		case p != nil:
			taken[p.String()] = true
			if point, ok := p.Contract.For(promise); !ok || point.FLOPs != best || point.PSNR < psnr {
				t.Errorf("%g dB: %s has %+v (%v), want %g times fewer operations", psnr, p, point, ok, best)
			}
		}
	}
	if len(taken) < 2 {
		t.Errorf("only %v are ever taken", taken)
	}
	s.Guidance = 4
	if p, err := fashion.Bundle.ForPSNR(pipeline.Setting(s), reuse.Promise{MinPSNR: 30}); p != nil || err != nil {
		t.Errorf("another guidance: %v (%v), want none", p, err)
	}
}
