package reuse

import (
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// ConditionalHalf is a value of EasyCache.Halves: guidance's conditional half decides for both.
const ConditionalHalf = "conditional"

// EasyCache reuses how the network changed its input ("Less is Enough: Training-Free Video
// Diffusion Acceleration via Runtime-Adaptive Caching", arXiv 2507.02860). With x[p] the latents at
// position p and v the prediction of the noise at the last computed position c, a skipped step
// predicts
//
//	x[p] + (v - x[c])
//
// and for the variance what was predicted at c, as the public code is for networks without one. The
// sum of the expected relative changes of the prediction,
//
//	E += K · mean|x[p] - x[p-1]| / mean|v|,
//
// decides: a step is skipped while E is below Threshold, and E begins anew when one is computed. K,
// the rate at which predictions follow inputs, is the ratio of their mean changes between the last
// two computed steps. The first Warmup steps and the last are computed.
type EasyCache struct {
	Threshold float64 `policy:"threshold,thresh" min:"0" help:"sum of expected changes from which on everything is computed"`
	Warmup    int     `policy:"warmup,first,first-steps,ret-steps" min:"1" help:"full steps at the start"`

	// Halves is JointHalves, SeparateHalves or ConditionalHalf.
	Halves string `policy:"halves" values:"joint|separate|conditional" help:"how guidance's two halves decide"`
}

// NewEasyCache returns an EasyCache with its defaults.
func NewEasyCache() *EasyCache {
	return &EasyCache{Threshold: 0.025, Warmup: 5, Halves: JointHalves}
}

// String returns the policy as Parse takes it.
func (p *EasyCache) String() string { return paramText("easycache", p) }

// Set changes one parameter.
func (p *EasyCache) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *EasyCache) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *EasyCache) Kind() Kind { return SkipsSteps }

// Granularity implements Described.
func (p *EasyCache) Granularity() Granularity { return ByStep }

// CacheBytes implements Policy.
func (p *EasyCache) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	m := model.Shape()
	numbers := (2*m.Channels + m.OutChannels) * m.LatentRows * m.LatentCols
	return 4 * int64(samples) * int64(numbers), named("easycache", p.Validate())
}

// NewRun implements Policy.
func (p *EasyCache) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("easycache", err)
	}
	m := model.Shape()
	latent := m.LatentRows * m.LatentCols
	return &easyRun{
		policy: *p,
		tokens: m.Tokens,
		steps:  plan.Steps(),
		noise:  min(m.Channels, m.OutChannels) * latent,
		before: newRows(samples, m.Channels*latent),
		in:     newRows(samples, m.Channels*latent),
		out:    newRows(samples, m.OutChannels*latent),
		easy:   make([]easySample, samples),
		twin:   make(twins, samples),
		index:  make([]int32, 0, samples*m.Tokens),
	}, nil
}

// easySample is the state of one sample.
type easySample struct {
	computed bool    // in the pass that runs
	begun    bool    // some step was computed
	known    bool    // two were, so that rate is known
	rate     float64 // K
	sum      float64 // E

	// Sums over the elements of this sample alone.
	moved     float64 // of |x[p] - x[p-1]|
	size      float64 // of the last computed prediction's |v|
	inChange  float64 // of the input's change between the last two computed steps
	outChange float64 // of the prediction's
}

// easyRun is the state of an EasyCache.
type easyRun struct {
	policy EasyCache
	tokens int
	steps  int
	noise  int            // elements of a prediction that predict the noise
	before *tensor.Tensor // the input at the step before, [samples, C*H*W]
	in     *tensor.Tensor // the input at the last computed step, likewise
	out    *tensor.Tensor // the prediction there, [samples, Cout*H*W]
	easy   []easySample
	twin   twins
	stats  Cost

	g         *tensor.Graph
	batch     *seam.Batch
	positions []int
	index     []int32 // rows of samples that compute
}

// Begin implements Run. Inputs decide, which are known before the pass.
func (r *easyRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.batch, r.positions = g, b, positions
	if r.policy.Halves == SeparateHalves {
		r.twin.part(len(positions))
	} else {
		r.twin.pair(b, len(positions))
	}
	for s, p := range positions {
		if p == 0 {
			r.easy[s] = easySample{}
		}
		r.easy[s].moved = float64(kernel.L1Diff(b.X.Row(s), r.before.Row(s)))
		copy(r.before.Row(s), b.X.Row(s))
	}
	for s, p := range positions {
		if r.decide(s, p) {
			r.stats.ISteps++
		} else {
			r.stats.PSteps++
		}
	}
	r.index = rowsOfSamples(r.index[:0], len(positions), r.tokens, func(s int) bool {
		return r.easy[s].computed
	})
}

// decide sets and returns whether a sample is computed at a position.
func (r *easyRun) decide(s, p int) bool {
	e := &r.easy[s]
	e.computed = true
	if p >= r.policy.Warmup && p < r.steps-1 && e.known {
		e.sum += e.rate * r.both(s, moved) / r.both(s, size)
		e.computed = !(e.sum < r.policy.Threshold)
	}
	if e.computed {
		e.sum = 0
	}
	return e.computed
}

func moved(e *easySample) float64     { return e.moved }
func size(e *easySample) float64      { return e.size }
func inChange(e *easySample) float64  { return e.inChange }
func outChange(e *easySample) float64 { return e.outChange }

// both returns a sum over the elements of the samples that decide for a sample: the same, bit for
// bit, for all for which they do.
func (r *easyRun) both(s int, sum func(*easySample) float64) float64 {
	own, twin := sum(&r.easy[s]), r.twin[s]
	switch {
	case twin < 0:
		return own
	case r.policy.Halves != ConditionalHalf:
		return own + sum(&r.easy[twin])
	case r.batch.Unconditional[s] < 0:
		return sum(&r.easy[twin])
	}
	return own
}

// Sites implements seam.Reuse.
func (r *easyRun) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *easyRun) Apply(_ seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	return computeRows(r.g, x, r.index, f)
}

// Finish implements seam.Finisher: it keeps the predictions of samples that computed, and replaces
// those of the others.
func (r *easyRun) Finish(out *tensor.Tensor) (again bool) {
	for s := range r.positions {
		e, now := &r.easy[s], out.Row(s)
		if !e.computed {
			r.predict(s, now)
			continue
		}
		e.inChange = float64(kernel.L1Diff(r.batch.X.Row(s), r.in.Row(s)))
		e.outChange = float64(kernel.L1Diff(now[:r.noise], r.out.Row(s)[:r.noise]))
		e.size = float64(kernel.L1Norm(now[:r.noise]))
		copy(r.in.Row(s), r.batch.X.Row(s))
		copy(r.out.Row(s), now)
	}
	for s := range r.positions {
		e := &r.easy[s]
		if !e.computed {
			continue
		}
		if change := r.both(s, inChange); e.begun && change > 0 {
			e.rate, e.known = r.both(s, outChange)/change, true
		}
		e.begun = true
	}
	return false
}

// predict sets the prediction of a skipped sample.
func (r *easyRun) predict(s int, out []float32) {
	kept := r.out.Row(s)
	noise := out[:r.noise]
	kernel.Sub(noise, kept[:r.noise], r.in.Row(s)[:r.noise])
	kernel.Add(noise, noise, r.batch.X.Row(s)[:r.noise])
	copy(out[r.noise:], kept[r.noise:])
}

// Reset implements Run: position 0 begins anew.
func (r *easyRun) Reset() {}

// Stats implements Run.
func (r *easyRun) Stats() Cost { return r.stats }
