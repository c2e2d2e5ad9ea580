package calibrate

import (
	"context"
	"math"

	"github.com/tokencache/tokencache/reuse"
)

const (
	maxCorrection = 1.25 // of the counted reduction, by one wall-clock measurement
	ratioTries    = 3    // measurements
	ratioSlack    = 0.02 // of the wanted speed, as a share
)

// ratio sets the ratio of policy, which trained holds, to the value that gives the wanted speed:
// first by counted FLOPs, then corrected by wall-clock measurements.
func (m *maker) ratio(ctx context.Context, policy *reuse.TokenCache, trained *reuse.Trained) error {
	wanted := m.Speed
	for try := range ratioTries {
		before := policy.Ratio
		if err := m.bisect(ctx, policy, wanted); err != nil {
			if try == 0 || ctx.Err() != nil {
				return err
			}
			policy.Ratio = before // no ratio is fast enough in wall-clock time
			return nil
		}
		m.stage("measuring: %.1f %% of the tokens on P-steps", 100*policy.Ratio)
		c, err := m.measure(ctx, trained.Policy, 2)
		if err != nil {
			return err
		}
		if math.Abs(c.Speedup/m.Speed-1) < ratioSlack {
			break
		}
		wanted *= min(max(m.Speed/c.Speedup, 1/maxCorrection), maxCorrection)
	}
	return nil
}

// bisect sets the ratio so that the counted FLOPs fall by the wanted factor.
func (m *maker) bisect(ctx context.Context, policy *reuse.TokenCache, wanted float64) error {
	m.stage("counting FLOPs for %.2f times fewer", wanted)
	req := m.request(1, m.Seed)
	req.Policy = policy
	reduction := func(ratio float64) (float64, error) {
		policy.Ratio = ratio
		r, err := m.p.Generate(ctx, req)
		if err != nil {
			return 0, err
		}
		return r.Stats.FLOPReduction(), nil
	}
	minRatio := reuse.MinRatio(policy.Selection, policy.Cell)
	best, err := reduction(minRatio)
	if err != nil {
		return err
	}
	if best < wanted {
		const near = 0.99
		if best > wanted*near {
			return nil
		}
		return unmet("a speed of %.4gx cannot be met with these I-steps: with a share of %g of the tokens "+
			"computed on P-steps, the minimum, there are %.2f times fewer FLOPs; "+
			"give fewer I-steps (a longer period k)",
			wanted, minRatio, best)
	}
	low, high := minRatio, 1.0
	for range 7 {
		middle := (low + high) / 2
		got, err := reduction(middle)
		if err != nil {
			return err
		}
		if got > wanted {
			low = middle
		} else {
			high = middle
		}
	}
	policy.Ratio = math.Round(1000*(low+high)/2) / 1000
	return nil
}
