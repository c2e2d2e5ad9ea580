package reuse

import (
	"math"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// DeltaDiT caches the residual F(x)-x of a range of blocks and skips the range between full steps
// ("Δ-DiT: A Training-Free Acceleration Method Tailored for Diffusion Transformers", arXiv
// 2406.01125). The first blocks make the outlines, which appear early, and the last ones the
// details: so early steps skip blocks at the back, and late ones those in front. Each phase begins
// with a full step, and has one every N steps.
type DeltaDiT struct {
	N        int     `policy:"n" min:"1" help:"period of full steps"`
	Span     float64 `policy:"span" above:"0" max:"1" help:"share of the blocks that is skipped"`
	Boundary float64 `policy:"boundary" min:"0" max:"1" help:"share of the steps that are early"`
}

// NewDeltaDiT returns a DeltaDiT with its defaults.
func NewDeltaDiT() *DeltaDiT { return &DeltaDiT{N: 3, Span: 0.5, Boundary: 0.5} }

// String returns the policy as Parse takes it.
func (p *DeltaDiT) String() string { return paramText("deltadit", p) }

// Set changes one parameter.
func (p *DeltaDiT) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *DeltaDiT) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *DeltaDiT) Kind() Kind { return Caches }

// Granularity implements Described.
func (p *DeltaDiT) Granularity() Granularity { return ByBlock }

// skipped returns how many blocks are skipped.
func (p *DeltaDiT) skipped(m *seam.Shape) int {
	return max(1, int(math.Round(p.Span*float64(m.Blocks))))
}

// early is the phase whose steps skip blocks at the back, late that whose steps skip those in
// front.
const early, late = 0, 1

// phase returns the phase of a position, and whether its step is full.
func (p *DeltaDiT) phase(position, steps int) (phase int, full bool) {
	if boundary := int(math.Round(p.Boundary * float64(steps))); position >= boundary {
		phase, position = late, position-boundary
	}
	return phase, position%p.N == 0
}

// CacheBytes implements Policy.
func (p *DeltaDiT) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	if err := p.Validate(); err != nil {
		return 0, named("deltadit", err)
	}
	m, n := model.Shape(), p.skipped(model.Shape())
	return residualBytes(m, m.Blocks-n, m.Blocks, samples) + residualBytes(m, 0, n, samples), nil
}

// Shares implements Scheduled.
func (p *DeltaDiT) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, named("deltadit", err)
	}
	return sharesBy(plan, func(position int) float64 {
		if _, full := p.phase(position, plan.Steps()); full {
			return 1
		}
		return 1 - float64(p.skipped(m))/float64(m.Blocks)
	}), nil
}

// NewRun implements Policy.
func (p *DeltaDiT) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("deltadit", err)
	}
	m, n := model.Shape(), p.skipped(model.Shape())
	r := &deltaRun{policy: p, tokens: m.Tokens, steps: plan.Steps()}
	// A sample is in one phase at a time, but those of a batch may be in both.
	r.ranges = [2]*residual{
		early: newResidual(m, m.Blocks-n, m.Blocks, samples),
		late:  newResidual(m, 0, n, samples),
	}
	for phase := range r.action {
		r.action[phase] = make([]residualAction, samples)
	}
	r.index = make([]int32, 0, samples*m.Tokens)
	return r, nil
}

// deltaRun is the state of a DeltaDiT.
type deltaRun struct {
	policy        *DeltaDiT
	g             *tensor.Graph
	tokens, steps int
	ranges        [2]*residual // what the steps of each phase skip
	stats         Cost

	samples int
	action  [2][]residualAction // of each phase and sample
	index   []int32             // rows that are computed in the block that runs
}

// Begin implements Run.
func (r *deltaRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.g, r.samples = g, len(positions)
	for s, p := range positions {
		phase, full := r.policy.phase(p, r.steps)
		r.action[1-phase][s] = ignoreResidual
		if full {
			r.action[phase][s] = recordResidual
			r.stats.ISteps++
		} else {
			r.action[phase][s] = reuseResidual
			r.stats.PSteps++
		}
	}
}

// Sites implements seam.Reuse.
func (r *deltaRun) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *deltaRun) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	r.index = rowsOfSamples(r.index[:0], r.samples, r.tokens, func(s int) bool {
		for phase, blocks := range r.ranges {
			if blocks.part[at.Block] >= 0 && r.action[phase][s] == reuseResidual {
				return false
			}
		}
		return true
	})
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	for phase, blocks := range r.ranges {
		blocks.before(r.g, at.Block, x.X, r.action[phase])
	}
	y := computeRows(r.g, x, r.index, f)
	for phase, blocks := range r.ranges {
		blocks.after(r.g, at.Block, y.X, r.action[phase])
	}
	return y
}

// Reset implements Run: each phase begins with a full step, so nothing of before is used.
func (r *deltaRun) Reset() {}

// Stats implements Run.
func (r *deltaRun) Stats() Cost { return r.stats }
