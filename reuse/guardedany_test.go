package reuse_test

import (
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// TestGuardedAny checks of any policy that with all forecasts accepted it is the policy, bit for
// bit and in what it says that it took, and with all rejected the uncached model.
func TestGuardedAny(t *testing.T) {
	m := model(t)
	batches := guided(m, inputs(m, 1))
	uncached, _ := checked(t, m, reuse.None{}, batches)
	for _, text := range policies {
		t.Run(text, func(t *testing.T) {
			inner := made(t, m, text)
			plain, innerRun := checked(t, m, inner, batches)
			accepted, run := checked(t, m, &reuse.Guarded{Policy: inner}, batches)
			if diff := same(plain, accepted); diff != "" {
				t.Errorf("accepted: %s", diff)
			}
			if run.Stats() != innerRun.Stats() {
				t.Errorf("accepted: %+v, want %+v", run.Stats(), innerRun.Stats())
			}
			e := evidence(run, 0)
			if innerRun.Stats().PSteps == 0 {
				return // it computes everything
			}
			if e.Checks == 0 || e.Rejections != 0 || !(e.EstimatedPSNR < 100) {
				t.Errorf("accepted: %+v, want checks, no rejection and an estimate below 100", e)
			}

			rejected, run := checked(t, m, &reuse.Guarded{Policy: inner, Tolerance: 1000}, batches)
			if diff := same(uncached, rejected); diff != "" {
				t.Errorf("rejected: %s", diff)
			}
			e = evidence(run, 0)
			if e.Rejections == 0 || e.Rejections != e.Checks || e.EstimatedPSNR != 100 {
				t.Errorf("rejected: %+v, want as many rejections as checks and 100 dB", e)
			}
			if c := run.Stats(); c.ISteps+c.PSteps != 8*2 || c.PSteps < 0 || c.HalfSteps != 0 || c.ISteps < 8*2-2 {
				t.Errorf("rejected: %+v, want 16 I-steps", c) // some call a step that computes everything a P-step
			}
		})
	}
}

// TestGuardedAnyAlone checks that an image of a batch is decided on as alone, whatever the policy.
func TestGuardedAnyAlone(t *testing.T) {
	m := model(t)
	all := inputs(m, 2)
	for _, text := range []string{"tokencache:ratio=0.25,k=3", "fbcache:threshold=0.3", "fora:n=2", "fastercache:start=2,n=2"} {
		for _, tolerance := range []float64{0, 15, 25, 35, 45} {
			p := &reuse.Guarded{Policy: parse(t, text), Tolerance: tolerance}
			together, run := checked(t, m, p, guided(m, all))
			for s := range 2 {
				alone, single := checked(t, m, p, guided(m, pick(all, s)))
				for step := range alone {
					n := len(alone[step]) / 2
					for half, sample := range []int{s, 2 + s} {
						for i, v := range alone[step][half*n:][:n] {
							if together[step][sample*n+i] != v {
								t.Fatalf("%s, tolerance %g: image %d, half %d, step %d differs from alone", text, tolerance, s, half, step)
							}
						}
					}
				}
				if evidence(run, s) != evidence(single, 0) {
					t.Errorf("%s, tolerance %g: %+v, alone %+v", text, tolerance, evidence(run, s), evidence(single, 0))
				}
			}
		}
	}
}
