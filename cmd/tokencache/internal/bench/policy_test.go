package bench

import (
	"context"
	"testing"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
)

// TestPolicy checks that steps are told apart as the policy takes them, and that what is counted is
// what was asked for.
func TestPolicy(t *testing.T) {
	c := dit.Config{Arch: dit.ArchDiT, InputSize: 16, PatchSize: 2, InChannels: 4, Hidden: 48, Depth: 3, Heads: 4, MLPHidden: 192, NumClasses: 10, LearnSigma: true}
	policy, err := reuse.Parse("tokencache:k=2,warmup=1,ratio=0.5,importance=random,selection=per-block")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Policy(context.Background(), PolicyOptions{Network: DiT{c}, Batch: 2, Policy: policy, Steps: 6, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if r.ISteps != 3 || r.PSteps != 3 || r.Share != 0.5 || r.CacheBytes <= 0 {
		t.Errorf("%d I-steps, %d P-steps with %g of the tokens, %d bytes: want 3, 3, 0.5 and some", r.ISteps, r.PSteps, r.Share, r.CacheBytes)
	}
	if !(r.FLOPRatio > 0.3 && r.FLOPRatio < 0.7) || !(r.Ratio > 0) {
		t.Errorf("P-steps have %g of the FLOPs and %g of the time", r.FLOPRatio, r.Ratio)
	}
}
