package calibrate

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// SmoothCacheOptions says what schedule to make.
type SmoothCacheOptions struct {
	Options
	Threshold float64 // largest relative L1 error of what is reused; with a speed it is found
	Lookahead int     // most steps in a row that reuse; 0 means 3
}

// defaultLookahead is the method's.
const defaultLookahead = 3

// SmoothCache makes the schedule of SmoothCache (arXiv 2411.10510) and saves it: it draws images
// without a policy, and takes how much every branch's output changes over the next few steps.
func SmoothCache(ctx context.Context, p *tokencache.Pipeline, o SmoothCacheOptions) (*reuse.Trained, error) {
	o.Sampling = o.Sampling.WithDefaults()
	if o.Lookahead == 0 {
		o.Lookahead = defaultLookahead
	}
	if o.Threshold == 0 && o.Speed > 0 {
		o.Threshold = mostThreshold
	}
	if !(o.Threshold > 0) || o.Lookahead < 1 {
		return nil, fmt.Errorf("threshold %g and lookahead %d: want more than 0, and 1 or more", o.Threshold, o.Lookahead)
	}
	m := &maker{Options: o.Options, p: p, start: time.Now()}
	errors := &BranchErrors{Lookahead: o.Lookahead}
	if err := m.watch(ctx, errors.Policy()); err != nil {
		return nil, err
	}
	t := m.trained(nil)
	t.Smooth = &reuse.SmoothCache{Threshold: o.Threshold, Compute: errors.Schedule(o.Threshold)}
	if o.Speed > 0 {
		set := func(v float64) { t.Smooth.Threshold, t.Smooth.Compute = v, errors.Schedule(v) }
		if err := m.threshold(ctx, t, reuse.SmoothCacheMethod, mostThreshold, set); err != nil {
			return nil, err
		}
	}
	return m.finish(ctx, t, map[string]any{"threshold": t.Smooth.Threshold, "lookahead": o.Lookahead}, nil)
}

// watch draws uncached images under a policy that only looks.
func (m *maker) watch(ctx context.Context, p reuse.Policy) error {
	req := m.request(m.Images, m.Seed)
	req.Batch, req.Policy = min(req.Batch, 4), p
	m.stage("watching %d uncached images", m.Images)
	_, err := m.p.Generate(ctx, req)
	return err
}

// finish measures what was made, and saves it.
func (m *maker) finish(
	ctx context.Context, t *reuse.Trained, made map[string]any, learned func(path string) error,
) (*reuse.Trained, error) {
	req := m.request(max(1, m.Measure), m.Seed+1)
	req.Policy = t
	m.stage("measuring")
	c, err := measure.Compare(ctx, m.p, req, 2)
	if err != nil {
		return nil, err
	}
	t.Speed = reuse.Speed{Wanted: m.Speed, FLOPs: float64(c.UncachedFLOPs) / float64(c.FLOPs), Wall: c.Speedup, Level: m.p.Level()}
	if c.PSNR != nil {
		t.PSNR = round2(*c.PSNR)
	}
	t.Provenance = m.provenance(made)
	return t, t.Save(m.Dir, learned)
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

func round2(x float64) float64 { return math.Round(100*x) / 100 }
