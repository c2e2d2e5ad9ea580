package summary

import (
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/reuse"
)

// cached is the cost of a policy with the numbers of the tests.
var cached = reuse.Cost{ISteps: 15, PSteps: 35, FLOPs: 2e9, UncachedFLOPs: 5e9, CacheBytes: 3 << 19}

func TestLines(t *testing.T) {
	stats := tokencache.Stats{Cost: cached, Images: 4, Steps: 50, DecodeSeconds: 0.25, TokensShare: 0.405}
	stats.Seconds = 0.5
	g := &Generated{Stats: stats, Policy: "fast", architecture: "DiT"}
	const took = "4 images of DiT in 750ms: 500ms denoising (50 steps, 4 GFLOP/s), 250ms decoding"
	const saved = "policy fast: 15 I-steps, 35 P-steps, 40.5 % of the tokens computed; " +
		"2.0 GFLOP, 3.0 saved (2.50 times fewer); cache of 1.5 MB"
	if got, want := strings.Join(g.Lines(), "\n"), took+"\n"+saved; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	g.HalfSteps = 5
	if got := g.Lines()[1]; !strings.Contains(got, "35 P-steps (5 of them half steps)") {
		t.Errorf("half steps: got %s", got)
	}
	g.PSteps = 0
	if got := strings.Join(g.Lines(), "\n"); got != took {
		t.Errorf("uncached: got\n%s\nwant\n%s", got, took)
	}
}

func TestSteps(t *testing.T) {
	for want, s := range map[string]tokencache.Sampling{
		"ddim, 50 steps":                      {Sampler: "ddim", Steps: 50},
		"unipc of order 3, 19 steps (logsnr)": {Sampler: "unipc", Order: 3, Steps: 19, Spacing: "logsnr"},
	} {
		if got := Steps(s); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestCompared(t *testing.T) {
	c := &measure.Comparison{
		Cost:                cached,
		WallSeconds:         0.5,
		UncachedWallSeconds: 1,
		Speedup:             2,
		PSNRUncached:        &eval.Fidelity{Mean: 41.26, P5: 35, Min: 31.04},
	}
	kinds := [2]string{"uncached", "fora:n=2"}
	const costs = "500ms against 1s (uncached): 2.00 times as fast, 2.50 times fewer FLOPs; " +
		"15 I-steps, 35 P-steps, cache of 1.5 MB\n"
	check := func(want string) {
		t.Helper()
		if got := strings.Join(Compared(c, kinds), "\n"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	const uncached = "PSNR to uncached: mean 41.3 dB, 5th percentile 35.0, min 31.0"
	check(costs + uncached)
	c.NoSolution = "no converged solution: sampler ddpm adds noise at every step"
	check(costs + uncached + "\n" + c.NoSolution)
	c.Note = "the policy was made from images of seed 1"
	c.Solution = &measure.Solution{Evaluations: 197, Error: 0.0016, PSNRHalf: &eval.Fidelity{Mean: 78.41}}
	c.PSNRConverged = &eval.Fidelity{Mean: 55, P5: 40, Min: 30, Identical: 2}
	c.Baseline.PSNRConverged = &eval.Fidelity{Mean: 37.64}
	check(costs + uncached + "\n" + c.Note + "\nPSNR to the converged solution: " +
		"mean 55.0 dB, 5th percentile 40.0, min 30.0; 2 identical, which count as 100 dB; uncached itself 37.6 dB" +
		"\nthe converged solution: 197 evaluations; half of them give the same within 78.4 dB (latents 0.002)")
}

// TestCaptions checks that a sheet of pairs says how fast the policy is and how near its images are.
func TestCaptions(t *testing.T) {
	c := &measure.Comparison{Speedup: 2.345, PSNRUncached: &eval.Fidelity{Mean: 41.26}}
	kinds := [2]string{"uncached", "fora:n=2"}
	if got, want := Captions(c, kinds), [2]string{"uncached", "fora:n=2\n2.35x as fast\n41.3 dB PSNR"}; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Disturbed = []string{"a load"}
	if got := Captions(c, kinds)[1]; !strings.Contains(got, "2.35x as fast (disturbed)\n") {
		t.Errorf("of a busy machine: got %q", got)
	}
}
