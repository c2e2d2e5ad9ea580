package bundle_test

import (
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/models/fashion"
)

// TestForPSNR checks that the policy that is taken for a PSNR keeps it, that none that keeps it
// needs fewer operations, and that other samplings have none.
func TestForPSNR(t *testing.T) {
	s := diffusion.Sampling{Sampler: "ddim", Steps: 50, Guidance: 1.5}
	list, err := fashion.Bundle.Policies()
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]bool{}
	for psnr := 30.0; psnr < 60; psnr += 0.5 {
		best := 0.0
		for _, p := range list {
			if p.Contract == nil {
				continue
			}
			if point, ok := p.Contract.For(psnr); ok {
				best = max(best, point.FLOPs)
			}
		}
		p, err := fashion.Bundle.ForPSNR(s, psnr)
		switch {
		case err != nil:
			t.Fatal(err)
		case p == nil && best > 0:
			t.Errorf("%g dB: no policy, one keeps it at %g times fewer operations", psnr, best)
		case p != nil:
			taken[p.String()] = true
			if point, ok := p.Contract.For(psnr); !ok || point.FLOPs != best || point.PSNR < psnr {
				t.Errorf("%g dB: %s has %+v (%v), want %g times fewer operations", psnr, p, point, ok, best)
			}
		}
	}
	if len(taken) < 2 {
		t.Errorf("only %v are ever taken", taken)
	}
	s.Guidance = 4
	if p, err := fashion.Bundle.ForPSNR(s, 30); p != nil || err != nil {
		t.Errorf("another guidance: %v (%v), want none", p, err)
	}
}
