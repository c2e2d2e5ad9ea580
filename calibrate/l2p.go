package calibrate

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/reuse"
)

// L2P learns the weights of L2P (arXiv 2604.26365): it samples images without a policy, and finds
// for each step by least squares how a feature follows from the same feature at earlier steps.
type L2P struct {
	Full    int        // full steps; 0: a third of the steps; with a wanted speed they are found
	First   int        // full steps at the start; the others are evenly spaced
	Feature string     // reuse.OutputFeature or reuse.HiddenFeature
	Columns L2PColumns // the steps that forecasts use
}

// L2PColumns are the earlier steps that a forecast uses.
type L2PColumns string

// Steps that forecasts use.
const (
	AllColumns      L2PColumns = "all"      // those that were forecast, too
	ComputedColumns L2PColumns = "computed" // those that were computed
)

// NewL2P returns the method with the default parameters. Forecasts use the computed steps alone:
// the weights of all steps are learned where none is forecast, and amplify the errors of forecasts.
func NewL2P() *L2P { return &L2P{First: 3, Feature: reuse.OutputFeature, Columns: ComputedColumns} }

// Name implements Method.
func (c *L2P) Name() string { return reuse.L2PMethod }

func (c *L2P) check(m *maker) error {
	switch {
	case c.First < 1:
		return fmt.Errorf("%d full steps at the start: want 1 or more", c.First)
	case c.Feature != reuse.OutputFeature && c.Feature != reuse.HiddenFeature:
		return fmt.Errorf("unknown feature %q: want %s or %s", c.Feature, reuse.OutputFeature, reuse.HiddenFeature)
	case c.Columns != AllColumns && c.Columns != ComputedColumns:
		return fmt.Errorf("unknown columns %q: want %s or %s", c.Columns, AllColumns, ComputedColumns)
	}
	return m.checkFull(c.Full)
}

func (c *L2P) run(ctx context.Context, m *maker) (*product, error) {
	plan, err := m.p.Plan(m.Sampling)
	if err != nil {
		return nil, err
	}
	gram := &Gram{Feature: c.Feature}
	if err := m.observe(ctx, gram.Policy()); err != nil {
		return nil, err
	}
	t := m.trained()
	t.L2P = &reuse.L2P{Feature: c.Feature}
	steps := plan.Steps()
	counts := countsFor(steps, func(count int) bool { return count > c.First || count == steps })
	err = m.planned(ctx, t, steps, c.Full, counts, func(count int) (err error) {
		t.L2P.List = spread(steps, count, c.First)
		if c.Columns == ComputedColumns || t.L2P.Weights == nil {
			t.L2P.Weights, err = c.weights(gram, t.L2P.List)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &product{
		policy:     t,
		learned:    t.L2P.Write,
		provenance: map[string]any{"full_steps": len(t.L2P.List), "columns": c.Columns},
	}, nil
}

func (c *L2P) weights(gram *Gram, list []int) ([][]float32, error) {
	columns := list
	if c.Columns == AllColumns {
		columns = nil
	}
	weights, err := gram.Weights(columns)
	if err != nil {
		return nil, err
	}
	var rows [][]float32
	for _, row := range weights {
		var r []float32
		for _, w := range row {
			r = append(r, float32(w))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// spread returns count positions of steps: the first ones, and then evenly spaced ones.
func spread(steps, count, first int) []int {
	var list []int
	for p := range min(first, count) {
		list = append(list, p)
	}
	rest, base := count-len(list), len(list)-1
	for i := range rest { // evenly between the last of the first ones and the end
		list = append(list, base+(i+1)*(steps-base)/(rest+1))
	}
	return list
}
