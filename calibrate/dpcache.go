package calibrate

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/reuse"
)

// DPCache chooses the key steps of DPCache (arXiv 2602.22654): it samples images without a policy,
// measures the errors of forecasts between all key steps that there could be, and finds the steps
// by dynamic programming over these.
type DPCache struct {
	Full  int // key steps; 0: a third of the steps; with a wanted speed they are found
	First int // key steps at the start, whatever they cost
	Last  int // likewise at the end
}

// NewDPCache returns the method with the default parameters.
func NewDPCache() *DPCache { return &DPCache{First: 3} }

// Name implements Method.
func (c *DPCache) Name() string { return reuse.DPCacheMethod }

func (c *DPCache) check(m *maker) error {
	if c.First < 1 || c.Last < 0 {
		return fmt.Errorf("%d key steps at the start and %d at the end: want 1 or more, and 0 or more", c.First, c.Last)
	}
	return m.checkFull(c.Full)
}

func (c *DPCache) run(ctx context.Context, m *maker) (*product, error) {
	plan, err := m.p.Plan(m.Sampling)
	if err != nil {
		return nil, err
	}
	steps := plan.Steps()
	costs := &PathCosts{Reach: max(1, int(maxPathJump*float64(steps)))}
	if err := m.observe(ctx, costs.Policy()); err != nil {
		return nil, err
	}
	t := m.trained()
	t.DP = reuse.NewDPCache()
	t.DP.Warmup = c.First
	counts := countsFor(steps, func(count int) bool {
		_, whole := costs.Plan(count, c.First, c.Last)
		return whole
	})
	err = m.planned(ctx, t, steps, c.Full, counts, func(count int) error {
		t.DP.List, _ = costs.Plan(count, c.First, c.Last)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &product{policy: t, provenance: map[string]any{
		"key_steps": len(t.DP.List),
		"path_cost": pathCost(costs.At, steps, t.DP.List),
	}}, nil
}
