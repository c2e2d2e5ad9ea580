package calibrate

import (
	"context"
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TeaCache fits the polynomial of TeaCache (arXiv 2411.19108): it samples images without a policy
// and measures the relative changes of the first block's modulated input and of the last block's
// output from step to step.
type TeaCache struct {
	Threshold float64 // of the policy; with a wanted speed it is found
}

// NewTeaCache returns the method with the default parameters.
func NewTeaCache() *TeaCache { return &TeaCache{Threshold: 0.15} }

// teaDegree is the degree of TeaCache's polynomial.
const teaDegree = 4

// Name implements Method.
func (c *TeaCache) Name() string { return reuse.TeaCacheMethod }

func (c *TeaCache) check(*maker) error {
	if !(c.Threshold > 0) {
		return fmt.Errorf("threshold %g: want more than 0", c.Threshold)
	}
	return nil
}

func (c *TeaCache) run(ctx context.Context, m *maker) (*product, error) {
	w := &changeWatcher{}
	if err := m.observe(ctx, w.policy()); err != nil {
		return nil, err
	}
	coefficients, rms, err := polynomial(w.in, w.out, teaDegree)
	if err != nil {
		return nil, fmt.Errorf("fitting the polynomial: %w", err)
	}
	t := m.trained()
	t.Tea = &reuse.TeaCache{
		Threshold:    c.Threshold,
		Coefficients: coefficients,
		Low:          slices.Min(w.in),
		High:         slices.Max(w.in),
	}
	if m.Speed > 0 {
		if err := m.threshold(ctx, t, c, maxThreshold, func(v float64) { t.Tea.Threshold = v }); err != nil {
			return nil, err
		}
	}
	return &product{policy: t, provenance: map[string]any{"pairs": len(w.in), "rms_error": rms}}, nil
}

// changeWatcher keeps, while everything is computed, the relative L1 changes of every sample from
// step to step.
type changeWatcher struct {
	in, out []float64 // of the first block's modulated input, and of the last block's output

	g           *tensor.Graph
	blocks      int
	tokens      int
	positions   []int
	first, last []float32 // at the step before, [rows, D]
	rows, sizes []float32 // scratch, of each row
}

// policy returns the policy that computes everything and is watched.
func (w *changeWatcher) policy() reuse.Policy {
	return reuse.Observe(reuse.None{}, reuse.Observer{
		Sites: seam.SitesOf(seam.Block, seam.Attention),
		Start: w.start,
		Begin: func(g *tensor.Graph, _ *seam.Batch, positions []int) { w.g, w.positions = g, positions },
		Site:  w.site,
	})
}

func (w *changeWatcher) start(model seam.Model, _ reuse.Plan, samples int, _ reuse.Run) error {
	m := model.Shape()
	rows := samples * m.Tokens
	w.blocks, w.tokens = m.Blocks, m.Tokens
	w.first, w.last = make([]float32, rows*m.Width), make([]float32, rows*m.Width)
	w.rows, w.sizes = make([]float32, rows), make([]float32, rows)
	return nil
}

func (w *changeWatcher) site(at seam.Site, in, out *seam.Tokens) {
	switch {
	case at.Block == 0 && at.Part == seam.Attention:
		w.in = w.compare(w.in, in.ModulatedInput(w.g), w.first)
	case at.Block == w.blocks-1 && at.Part == seam.Block:
		w.out = w.compare(w.out, out.X, w.last)
	}
}

// compare appends to list the change of each sample that has a step before, and keeps x.
func (w *changeWatcher) compare(list []float64, x *tensor.Tensor, before []float32) []float64 {
	width := x.Cols
	w.g.EachRow(x.Rows, width, func(i int) {
		old := before[i*width : (i+1)*width]
		w.rows[i], w.sizes[i] = kernel.L1Diff(x.Row(i), old), kernel.L1Norm(old)
		copy(old, x.Row(i))
	})
	for s, p := range w.positions {
		if p == 0 {
			continue
		}
		change, size := 0.0, 0.0
		for i := s * w.tokens; i < (s+1)*w.tokens; i++ {
			change += float64(w.rows[i])
			size += float64(w.sizes[i])
		}
		list = append(list, change/size)
	}
	return list
}
