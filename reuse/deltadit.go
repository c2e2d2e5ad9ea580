package reuse

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// DeltaDiT caches what a span of blocks adds to the tokens, F(x)-x, and skips that span between full steps ("Δ-DiT: A Training-Free Acceleration Method Tailored for Diffusion Transformers", arXiv
// 2406.01125). The first blocks settle the outlines, which are made early, and the last ones the details: so the early steps skip the blocks at the back, and the late ones those in
// front. Each phase begins with a full step, and has one every N steps.
type DeltaDiT struct {
	N        int     `policy:"n"`
	Span     float64 `policy:"span"`     // share of the blocks that is skipped
	Boundary float64 `policy:"boundary"` // share of the steps that are early
}

// String returns the policy as Parse takes it.
func (p *DeltaDiT) String() string { return paramText("deltadit", p) }

// Set changes one parameter.
func (p *DeltaDiT) Set(key, value string) error { return setParam("deltadit", p, key, value) }

// Validate reports parameters that have no meaning.
func (p *DeltaDiT) Validate() error {
	switch {
	case p.N < 1:
		return fmt.Errorf("n=%d: want 1 or more", p.N)
	case !(p.Span > 0 && p.Span <= 1):
		return fmt.Errorf("span=%g: want more than 0, up to 1", p.Span)
	case !(p.Boundary >= 0 && p.Boundary <= 1):
		return fmt.Errorf("boundary=%g: want 0 to 1", p.Boundary)
	}
	return nil
}

// count returns how many blocks are skipped.
func (p *DeltaDiT) count(m *seam.Shape) int {
	return max(1, int(math.Round(p.Span*float64(m.Blocks))))
}

// CacheBytes implements Policy.
func (p *DeltaDiT) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	if err := p.Validate(); err != nil {
		return 0, fmt.Errorf("deltadit: %w", err)
	}
	m, count := model.Shape(), p.count(model.Shape())
	return spanBytes(m, m.Blocks-count, m.Blocks, samples) + spanBytes(m, 0, count, samples), nil
}

// NewRun implements Policy.
func (p *DeltaDiT) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("deltadit: %w", err)
	}
	m, count := model.Shape(), p.count(model.Shape())
	r := &deltaRun{n: p.N, tokens: m.Tokens, boundary: int(math.Round(p.Boundary * float64(plan.Steps())))}
	// A sample is in one phase at a time, but those of a batch may be in both.
	r.spans = [2]*span{newSpan(m, m.Blocks-count, m.Blocks, samples), newSpan(m, 0, count, samples)}
	for phase := range r.action {
		r.action[phase] = make([]spanAction, samples)
	}
	r.index = make([]int32, 0, samples*m.Tokens)
	return r, nil
}

// deltaRun is the state of a DeltaDiT.
type deltaRun struct {
	g         *tensor.Graph
	n, tokens int
	boundary  int      // the first late step
	spans     [2]*span // what the early steps skip, and the late ones
	stats     Cost

	samples int
	action  [2][]spanAction // of each phase and sample
	index   []int32         // rows that are computed in the block that runs
}

// Begin implements Run.
func (r *deltaRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.g, r.samples = g, len(positions)
	for s, p := range positions {
		phase := 0
		if p >= r.boundary {
			phase, p = 1, p-r.boundary
		}
		r.action[1-phase][s] = passSpan
		if p%r.n == 0 {
			r.action[phase][s] = recordSpan
			r.stats.ISteps++
		} else {
			r.action[phase][s] = reuseSpan
			r.stats.PSteps++
		}
	}
}

// Sites implements seam.Reuse.
func (r *deltaRun) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *deltaRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.index = rowsOfSamples(r.index[:0], r.samples, r.tokens, func(s int) bool {
		for phase, span := range r.spans {
			if span.piece[at.Block] >= 0 && r.action[phase][s] == reuseSpan {
				return false
			}
		}
		return true
	})
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	for phase, span := range r.spans {
		span.enter(r.g, at.Block, x.X, r.action[phase])
	}
	y := some(r.g, x, r.index, f)
	for phase, span := range r.spans {
		span.leave(r.g, at.Block, y.X, r.action[phase])
	}
	return y
}

// Reset implements Run: each phase begins with a full step, so nothing of before is used.
func (r *deltaRun) Reset() {}

// Stats implements Run.
func (r *deltaRun) Stats() Cost { return r.stats }
