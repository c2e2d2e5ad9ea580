package calibrate

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/reuse"
)

// CEM chooses the full steps of CEM (arXiv 2512.23258): it samples images without a policy,
// measures how far the last block's output turns over the next few steps, and finds the steps by
// dynamic programming over what that adds up to.
type CEM struct {
	Full     int       // full steps; 0: a third of the steps; with a wanted speed they are found
	Weight   CEMWeight // of longer gaps
	Interval int       // by how much gaps may differ from the mean one
}

// CEMWeight is how the cost of a gap grows with the number of its cached steps, beyond the change
// that was measured.
type CEMWeight string

// Weights of gaps.
const (
	CEMNone      CEMWeight = "none"
	CEMLinear    CEMWeight = "linear"
	CEMQuadratic CEMWeight = "quadratic"
)

// NewCEM returns the method with the default parameters.
func NewCEM() *CEM { return &CEM{Weight: CEMQuadratic, Interval: 1} }

// Name implements Method.
func (c *CEM) Name() string { return reuse.CEMMethod }

func (c *CEM) check(m *maker) error {
	if err := c.Weight.check(); err != nil {
		return err
	}
	if c.Interval < 0 {
		return fmt.Errorf("gaps that differ by %d from the mean: want 0 or more", c.Interval)
	}
	return m.checkFull(c.Full)
}

func (w CEMWeight) check() error {
	switch w {
	case CEMNone, CEMLinear, CEMQuadratic:
		return nil
	}
	return fmt.Errorf("unknown weight of gaps %q: want %s, %s or %s", w, CEMNone, CEMLinear, CEMQuadratic)
}

func (c *CEM) run(ctx context.Context, m *maker) (*product, error) {
	plan, err := m.p.Plan(m.Sampling)
	if err != nil {
		return nil, err
	}
	priors := &Priors{}
	if err := m.observe(ctx, priors.Policy()); err != nil {
		return nil, err
	}
	t := m.trained()
	t.CEM = reuse.NewCEM()
	counts := countsFor(plan.Steps(), func(count int) bool {
		_, ok := priors.Plan(count, c.Interval, c.Weight)
		return ok
	})
	err = m.planned(ctx, t, plan.Steps(), c.Full, counts, func(count int) error {
		t.CEM.List, _ = priors.Plan(count, c.Interval, c.Weight)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &product{policy: t, provenance: map[string]any{"full_steps": len(t.CEM.List)}}, nil
}
