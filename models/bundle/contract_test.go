package bundle_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
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
		limit := (*reuse.ContractLimitError)(nil)
		switch {
		case errors.As(err, &limit):
			if best > 0 || limit.Policy != "ddim50-2x" || limit.Max >= psnr || limit.Among != "fashion" {
				t.Errorf("%g dB: error %v, one keeps it at %g times fewer operations", psnr, err, best)
			}
		case err != nil:
			t.Fatal(err)
		default:
			taken[p.String()] = true
			if point, ok := p.Contract.For(promise); !ok || point.FLOPs != best || point.PSNR < psnr {
				t.Errorf("%g dB: %s has %+v (%v), want %g times fewer operations", psnr, p, point, ok, best)
			}
		}
	}
	if len(taken) < 2 {
		t.Errorf("only %v are ever taken", taken)
	}
}

// TestForPSNRRefused checks why no bundled policy keeps a promise.
func TestForPSNRRefused(t *testing.T) {
	pipeline, _, err := models.Open("fashion")
	if err != nil {
		t.Fatal(err)
	}
	defer pipeline.Close()
	none := error(new(bundle.NoPromiseError))
	for _, c := range []struct {
		name    string
		change  func(*reuse.Setting)
		promise reuse.Promise
		like    error
		want    string
	}{
		{
			"guidance", func(s *reuse.Setting) { s.Sampling.Guidance = 4 }, reuse.Promise{MinPSNR: 30}, none,
			"no policy bundled with fashion has a contract for sampler ddim, 50 steps and guidance 4 " +
				"(the nearest is for guidance 1.5, not for guidance 4)",
		},
		{
			"steps that no policy is for", func(s *reuse.Setting) { s.Sampling.Steps = 20 },
			reuse.Promise{MinPSNR: 30}, none, "no policy bundled with fashion has a contract for sampler ddim, 20 steps",
		},
		{
			"number format", func(s *reuse.Setting) { s.DType = "int8" }, reuse.Promise{MinPSNR: 30},
			new(reuse.ContractMismatchError), "calibrated for number format f32, not for number format int8",
		},
		{
			"too high", func(*reuse.Setting) {}, reuse.Promise{MinPSNR: 80},
			new(reuse.ContractLimitError),
			"a PSNR of 80 dB: of the policies bundled with fashion, ddim50-2x keeps the highest, 48.5 dB",
		},
		{
			"converged", func(*reuse.Setting) {}, reuse.Promise{MinPSNR: 30, Reference: reuse.ToConverged},
			new(reuse.UncachedMissesError), "to the converged solution: the uncached run itself misses it",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pipeline.Setting(diffusion.Sampling{Sampler: "ddim", Steps: 50, Guidance: 1.5})
			c.change(&s)
			p, err := fashion.Bundle.ForPSNR(s, c.promise)
			if p != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v (%v), want %q", p, err, c.want)
			}
			if got, want := fmt.Sprintf("%T", err), fmt.Sprintf("%T", c.like); got != want {
				t.Errorf("a %s, want a %s", got, want)
			}
		})
	}
	var noBundle *bundle.Bundle
	if _, err := noBundle.ForPSNR(reuse.Setting{}, reuse.Promise{MinPSNR: 30}); !errors.As(err, new(*bundle.NoPromiseError)) {
		t.Errorf("a model that is not bundled: error %v", err)
	}
}

// TestForPSNRSolvers checks that solvers alone, which have no contract, keep no promise.
func TestForPSNRSolvers(t *testing.T) {
	pipeline, req, err := models.Open("emoji")
	if err != nil {
		t.Fatal(err)
	}
	defer pipeline.Close()
	p, err := bundle.Lookup("emoji").ForPSNR(pipeline.Setting(req.Sampling), reuse.Promise{MinPSNR: 1e-9})
	var none *bundle.NoPromiseError
	if !errors.As(err, &none) {
		t.Errorf("policy %v, error %v: want a NoPromiseError", p, err)
	}
}
