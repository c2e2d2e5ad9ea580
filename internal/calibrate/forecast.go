package calibrate

import (
	"context"
	"fmt"
	"math"

	"github.com/tokencache/tokencache/reuse"
)

// forecast makes a policy whose P-steps compute nothing: the I-steps are placed, and the forecasts in between learned, on what the uncached model's blocks add to the tokens at every step.
func (m *maker) forecast(ctx context.Context) (*reuse.Trained, error) {
	plan, err := m.p.Plan(m.Sampler, m.Steps)
	if err != nil {
		return nil, err
	}
	steps := plan.Steps()
	g, err := m.gramOf(ctx, plan)
	if err != nil {
		return nil, err
	}
	total, weights := g.total(), weightsOf(plan.Sigma)
	count := 0
	var given []int // I-steps as asked for, where no speed is
	if m.Speed > 0 {
		count = int(float64(steps) / m.Speed)
	} else {
		if given, err = m.Base.Steps.ISteps(steps); err != nil {
			return nil, err
		}
		count = len(given)
	}
	for try := 0; ; try++ {
		list := given
		if list == nil || m.Percent {
			list = place(total, weights, max(count, 1))
		}
		if list == nil {
			return nil, fmt.Errorf("a speed of %gx leaves %d of %d steps to be computed, too few to forecast the others from: ask for less", m.Speed, count, steps)
		}
		policy := m.Base
		policy.Ratio = 0
		policy.Steps = reuse.StepChoice{Kind: reuse.ListedSteps, Warmup: 1, List: list}
		policy.Forecast = learn(g, list)
		t := m.trained(&policy)
		req := m.request(max(1, m.Measure), m.Seed+1)
		req.Policy = &policy
		m.stage("measuring %d I-steps of %d", len(list), steps)
		c, err := m.p.Compare(ctx, req, 3)
		if err != nil {
			return nil, err
		}
		t.Speed = reuse.Speed{Wanted: m.Speed, FLOPs: float64(c.UncachedFLOPs) / float64(c.FLOPs), Wall: c.Speedup, Level: m.p.Level()}
		if c.PSNR != nil {
			t.PSNR = math.Round(100**c.PSNR) / 100
		}
		const mostTries = 4
		if m.Speed > 0 && c.Speedup < m.Speed*0.995 && try < mostTries && count > 2 {
			count--
			continue
		}
		t.Provenance = m.provenance(map[string]any{})
		return t, t.Save(m.Dir, policy.Forecast.Write)
	}
}
