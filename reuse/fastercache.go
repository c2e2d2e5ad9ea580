package reuse

import (
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// FasterCache is the guidance cache of "FasterCache: Training-Free Video Diffusion Model
// Acceleration with High Quality", arXiv 2410.19355, without its reuse of attention. Late steps
// skip guidance's unconditional half. Its prediction is the conditional one plus the difference of
// the two at the last step that computed both, split into low and high spatial frequencies:
//
//	unconditional = conditional + low + high
//
// Before step High every skipped step first multiplies the low frequencies by Weight, later ones
// the high frequencies. The products are kept, so that they grow from skipped step to skipped step.
// Steps count from 1; defaults are those of the public code for Latte with 50 steps. Without
// guidance everything is computed.
type FasterCache struct {
	Start    int     `policy:"start" min:"2" help:"first step that may skip the unconditional half, counted from 1"`
	Interval int     `policy:"n,interval,every" min:"1" help:"steps whose number is a multiple of this compute both halves"`
	High     int     `policy:"high" min:"1" help:"first step at which high frequencies are weighted, and low ones no more"`
	Weight   float64 `policy:"weight" min:"0" help:"factor of the weighted frequencies at every skipped step"`
}

// NewFasterCache returns a FasterCache with its defaults.
func NewFasterCache() *FasterCache {
	return &FasterCache{Start: 18, Interval: 5, High: 45, Weight: 1.1}
}

// String returns the policy as Parse takes it.
func (p *FasterCache) String() string { return paramText("fastercache", p) }

// Set changes one parameter.
func (p *FasterCache) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *FasterCache) Validate() error { return checkParams(p) }

// NeedsGuidance reports whether a policy only skips what guidance computes, so that without it
// everything is computed.
func NeedsGuidance(p Policy) bool {
	switch p := p.(type) {
	case *FasterCache:
		return true
	case *Guarded:
		return NeedsGuidance(p.Policy)
	case *Trained:
		_, inner := p.inner()
		return inner != nil && NeedsGuidance(inner)
	case Spec:
		inner, err := Parse(string(p))
		return err == nil && NeedsGuidance(inner)
	}
	return false
}

// Kind implements Described.
func (p *FasterCache) Kind() Kind { return Caches }

// Granularity implements Described.
func (p *FasterCache) Granularity() Granularity { return ByStep }

// skips reports whether a position leaves out the unconditional half.
func (p *FasterCache) skips(position int) bool {
	return position+1 >= p.Start && (position+1)%p.Interval != 0
}

// lowShare is the part of a latent's shorter side, in cycles, up to which frequencies are low.
const lowShare = 5

// CacheBytes implements Policy.
func (p *FasterCache) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	m := model.Shape()
	numbers := 2 * m.OutChannels * m.LatentRows * m.LatentCols
	return 4 * int64(samples/2) * int64(numbers), named("fastercache", p.Validate())
}

// Shares implements Scheduled.
func (p *FasterCache) Shares(_ *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, named("fastercache", err)
	}
	guided := plan.Guide().Enabled()
	return sharesBy(plan, func(position int) float64 {
		if guided && p.skips(position) {
			return 0.5
		}
		return 1
	}), nil
}

// NewRun implements Policy.
func (p *FasterCache) NewRun(model seam.Model, _ Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("fastercache", err)
	}
	m := model.Shape()
	size := m.OutChannels * m.LatentRows * m.LatentCols
	return &fasterRun{
		policy: *p,
		tokens: m.Tokens,
		latent: m.LatentRows * m.LatentCols,
		filter: newLowPass(m.LatentRows, m.LatentCols, min(m.LatentRows, m.LatentCols)/lowShare),
		low:    newRows(samples/2, size),
		high:   newRows(samples/2, size),
		halves: make([]half, samples),
		index:  make([]int32, 0, samples*m.Tokens),
	}, nil
}

// fasterRun is the state of a FasterCache.
type fasterRun struct {
	policy    FasterCache
	tokens    int
	latent    int // elements of a channel
	filter    *lowPass
	low, high *tensor.Tensor // of guidance's difference, [images, Cout*H*W]
	halves    []half
	stats     Cost

	g         *tensor.Graph
	positions []int
	index     []int32 // rows of samples that compute
}

// half is what a sample is under guidance.
type half struct {
	conditional int  // the sample whose unconditional half this is, or -1
	image       int  // of an unconditional half: how many come before it
	skipped     bool // in the pass that runs
}

// Begin implements Run.
func (r *fasterRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	halves := r.halves[:len(positions)]
	for s := range halves {
		halves[s].conditional = -1
	}
	for s, other := range b.Unconditional {
		if other >= 0 {
			halves[other].conditional = s
		}
	}
	image := 0
	for s, p := range positions {
		h := &halves[s]
		h.image, h.skipped = image, h.conditional >= 0 && r.policy.skips(p)
		if h.conditional >= 0 {
			image++
		}
		paired := h.conditional >= 0 || b.Unconditional != nil && b.Unconditional[s] >= 0
		if paired && r.policy.skips(p) {
			r.stats.PSteps++
			r.stats.HalfSteps++
		} else {
			r.stats.ISteps++
		}
	}
	r.index = rowsOfSamples(r.index[:0], len(positions), r.tokens, func(s int) bool {
		return !halves[s].skipped
	})
}

// Sites implements seam.Reuse.
func (r *fasterRun) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *fasterRun) Apply(_ seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	return computeRows(r.g, x, r.index, f)
}

// Finish implements seam.Finisher: it takes in guidance's difference, or derives the unconditional
// predictions.
func (r *fasterRun) Finish(out *tensor.Tensor) (again bool) {
	for s, p := range r.positions {
		h := r.halves[s]
		if h.conditional < 0 {
			continue
		}
		unconditional, conditional := out.Row(s), out.Row(h.conditional)
		low, high := r.low.Row(h.image), r.high.Row(h.image)
		switch {
		case h.skipped:
			weighted := low
			if p+1 >= r.policy.High {
				weighted = high
			}
			kernel.Scale(weighted, weighted, float32(r.policy.Weight))
			kernel.Add(unconditional, conditional, low)
			kernel.Add(unconditional, unconditional, high)
		case r.policy.skips(p + 1):
			kernel.Sub(high, unconditional, conditional)
			for from := 0; from < len(high); from += r.latent {
				r.filter.apply(low[from:from+r.latent], high[from:from+r.latent])
			}
			kernel.Sub(high, high, low)
		}
	}
	return false
}

// Reset implements Run: both halves are computed before one is skipped.
func (r *fasterRun) Reset() {}

// Stats implements Run.
func (r *fasterRun) Stats() Cost { return r.stats }
