package calibrate

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// SmoothCache makes the schedule of SmoothCache (arXiv 2411.10510): it samples images without a
// policy and measures how much every branch's output changes over the next few steps.
type SmoothCache struct {
	Threshold float64 // largest relative L1 error of reuse; with a wanted speed it is found
	Lookahead int     // largest number of consecutive steps that reuse
}

// NewSmoothCache returns the method with the default parameters.
func NewSmoothCache() *SmoothCache { return &SmoothCache{Threshold: 0.2, Lookahead: 3} }

// Name implements Method.
func (c *SmoothCache) Name() string { return reuse.SmoothCacheMethod }

func (c *SmoothCache) check(*maker) error {
	if !(c.Threshold > 0) || c.Lookahead < 1 {
		return fmt.Errorf("threshold %g and lookahead %d: want more than 0, and 1 or more", c.Threshold, c.Lookahead)
	}
	return nil
}

func (c *SmoothCache) run(ctx context.Context, m *maker) (*product, error) {
	changes := &BranchErrors{Lookahead: c.Lookahead}
	if err := m.observe(ctx, changes.Policy()); err != nil {
		return nil, err
	}
	t := m.trained()
	t.Smooth = &reuse.SmoothCache{}
	set := func(v float64) { t.Smooth.Threshold, t.Smooth.Compute = v, changes.Schedule(v) }
	set(c.Threshold)
	if m.Speed > 0 {
		if err := m.threshold(ctx, t, c, maxThreshold, set); err != nil {
			return nil, err
		}
	}
	return &product{
		policy:     t,
		provenance: map[string]any{"threshold": t.Smooth.Threshold, "lookahead": c.Lookahead},
	}, nil
}

// BranchErrors measures, while everything is computed, how far each branch's output is from what it
// is some steps later: |f_p - f_(p+j+1)| / |f_(p+j+1)|, sums of absolute values over all samples
// together.
type BranchErrors struct {
	Lookahead int

	Blocks, Steps int
	change, size  []float64 // [blocks, 2, Lookahead, steps]
	seen          []bool

	g        *tensor.Graph
	past     [][]float32 // of each branch, and each of the last Lookahead steps: [rows, D]
	known    int         // of the past steps, how many there are
	position int
	rows     []float32 // scratch, of each row
	sizes    []float32
}

// Policy returns the policy that computes everything and is measured.
func (e *BranchErrors) Policy() reuse.Policy {
	return reuse.Observe(reuse.None{}, reuse.Observer{
		Sites: seam.SitesOf(seam.Attention, seam.MLP),
		Start: e.start,
		Begin: e.begin,
		Site:  e.measure,
	})
}

func (e *BranchErrors) start(model seam.Model, plan reuse.Plan, samples int, _ reuse.Run) error {
	m := model.Shape()
	rows := samples * m.Tokens
	if e.Blocks != m.Blocks || e.Steps != plan.Steps() {
		e.Blocks, e.Steps = m.Blocks, plan.Steps()
		n := 2 * e.Blocks * e.Lookahead * e.Steps
		e.change, e.size, e.seen = make([]float64, n), make([]float64, n), make([]bool, n)
	}
	e.past = nil
	for range 2 * e.Blocks * e.Lookahead {
		e.past = append(e.past, make([]float32, rows*m.Width))
	}
	e.rows, e.sizes = make([]float32, rows), make([]float32, rows)
	return nil
}

// begin notes the step, which is that of all samples of a batch.
func (e *BranchErrors) begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	e.g, e.position = g, positions[0]
	e.known = min(e.position, e.Lookahead)
}

// measure takes in the output of a branch.
func (e *BranchErrors) measure(at seam.Site, _, out *seam.Tokens) {
	part, y := 0, out.X
	if at.Part == seam.MLP {
		part = 1
	}
	width := y.Cols
	for j := range e.known {
		before := e.slot(at.Block, part, e.position-j-1)
		e.g.EachRow(y.Rows, width, func(i int) {
			now := y.Row(i)
			e.rows[i] = kernel.L1Diff(before[i*width:(i+1)*width], now)
			e.sizes[i] = kernel.L1Norm(now)
		})
		k := e.index(at.Block, part, j, e.position-j-1)
		for i := range y.Rows {
			e.change[k] += float64(e.rows[i])
			e.size[k] += float64(e.sizes[i])
		}
		e.seen[k] = true
	}
	now := e.slot(at.Block, part, e.position)
	e.g.EachRow(y.Rows, width, func(i int) { copy(now[i*width:(i+1)*width], y.Row(i)) })
}

// slot is where a branch's output at a position is kept.
func (e *BranchErrors) slot(block, part, position int) []float32 {
	return e.past[(2*block+part)*e.Lookahead+position%e.Lookahead]
}

func (e *BranchErrors) index(block, part, j, p int) int {
	return ((2*block+part)*e.Lookahead+j)*e.Steps + p
}

// At returns the error of reusing at position p+j+1 the output of a branch, attention (0) or MLP
// (1), at p; ok is false where there is none.
func (e *BranchErrors) At(block, part, j, p int) (err float64, ok bool) {
	k := e.index(block, part, j, p)
	if !e.seen[k] {
		return 0, false
	}
	return e.change[k] / e.size[k], true
}

// Schedule returns for attn and mlp 1 at the positions that compute. After each, as many steps
// reuse as keep the error at their end, averaged over blocks, within threshold. The last position
// computes.
func (e *BranchErrors) Schedule(threshold float64) map[string][]int {
	schedule := map[string][]int{}
	for part, name := range []string{"attn", "mlp"} {
		list := make([]int, e.Steps)
		for p := 0; p < e.Steps; {
			list[p] = 1
			reused := 0
			for j := range e.Lookahead {
				if mean, ok := e.mean(part, j, p); ok && mean <= threshold {
					reused = j + 1
				}
			}
			p += 1 + reused
		}
		list[e.Steps-1] = 1
		schedule[name] = list
	}
	return schedule
}

func (e *BranchErrors) mean(part, j, p int) (mean float64, ok bool) {
	for block := range e.Blocks {
		err, there := e.At(block, part, j, p)
		if !there {
			return 0, false
		}
		mean += err / float64(e.Blocks)
	}
	return mean, true
}
