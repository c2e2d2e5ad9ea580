package summary

import (
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
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

func TestCompared(t *testing.T) {
	c := &measure.Comparison{Cost: cached, WallSeconds: 0.5, UncachedWallSeconds: 1, Speedup: 2}
	const costs = "500ms with it, 1s without: 2.00 times as fast, 2.50 times fewer FLOPs; "
	const steps = "; 15 I-steps, 35 P-steps, cache of 1.5 MB"
	if got, want := Compared(c), costs+"the same images"+steps; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	psnr := 41.26
	c.PSNR = &psnr
	if got, want := Compared(c), costs+"PSNR 41.3 dB"+steps; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
