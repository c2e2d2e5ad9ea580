// Package reuse holds cache policies: what of a denoising step is computed, and what is taken from
// the steps before. There is one file for each method, TokenCache first among them ("Token Caching
// for Diffusion Transformer Acceleration", arXiv 2409.18523). What methods share is in branches.go
// (caches of branches), residual.go (of ranges of blocks), differences.go (forecasts) and
// schedule.go (which branches are computed when).
//
// A Policy is a method with its parameters, immutable. A Run is its state for one batch of samples,
// and stands in the seam that package seam declares. Decisions are per sample, never averaged over
// a batch, and samples of one batch may be at different steps. The package may know models and
// their activations; of samplers it knows only the list of steps, and of files only those of
// policies.
//
// Positions of steps count up: position 0 is the first step taken, at the noisiest timestep.
package reuse

import (
	"math"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Plan is what a policy must know of the sampler: its steps in the order in which they are taken.
type Plan struct {
	diffusion.Sampling
	Timesteps []float64 // of each position, falling

	// Sigma is the noise of each position relative to the signal, exp(-log-SNR): sqrt(1/alpha-bar - 1)
	// where levels preserve the variance. Of noise alone, as flows start from, it is pureNoise.
	Sigma []float64

	// Alpha is the signal's share of x at each position, and Noise how much the noise that follows
	// from the network's output changes with the output: 1 where that is the noise. nil means that of
	// networks that predict noise on levels that preserve the variance.
	Alpha, Noise []float64
}

// pureNoise stands for the infinite ratio of noise to no signal.
const pureNoise = 1e4

// AlphaAt returns the signal's share of x at a position.
func (p Plan) AlphaAt(position int) float64 {
	if p.Alpha == nil {
		return 1 / math.Sqrt(1+p.Sigma[position]*p.Sigma[position])
	}
	return p.Alpha[position]
}

// noiseAt returns how much the noise changes with the network's output.
func (p Plan) noiseAt(position int) float64 {
	if p.Noise == nil {
		return 1
	}
	return p.Noise[position]
}

// NewPlanOn returns the plan of a sampler that s made for a network.
func NewPlanOn(n diffusion.Network, s diffusion.Sampling, sampler diffusion.Sampler) Plan {
	plan := NewPlan(s, sampler)
	levels, err := n.Levels()
	if err != nil || !levels.IsFlow() {
		return plan
	}
	for _, timestep := range plan.Timesteps {
		l := levels.Level(timestep)
		plan.Alpha, plan.Noise = append(plan.Alpha, l.Alpha), append(plan.Noise, levels.NoiseShare(timestep))
	}
	return plan
}

// NewPlan returns the plan of a sampler that s made.
func NewPlan(s diffusion.Sampling, sampler diffusion.Sampler) Plan {
	plan := Plan{
		Sampling:  s.WithDefaults(),
		Timesteps: make([]float64, 0, sampler.Steps()),
		Sigma:     make([]float64, 0, sampler.Steps()),
	}
	for i := sampler.Steps() - 1; i >= 0; i-- {
		plan.Timesteps = append(plan.Timesteps, sampler.Timestep(i))
		plan.Sigma = append(plan.Sigma, min(sampler.Sigma(i), pureNoise))
	}
	return plan
}

// Steps returns the number of steps.
func (p Plan) Steps() int { return len(p.Timesteps) }

// Policy is a cache method with its parameters.
type Policy interface {
	// String is the policy as Parse takes it.
	String() string
	// CacheBytes returns the memory that NewRun allocates. It fails where NewRun does: if a
	// parameter has no meaning, or the policy does not fit the model or the plan.
	CacheBytes(m seam.Model, plan Plan, samples int) (int64, error)
	// NewRun allocates the state for batches of up to samples samples. Runs of one policy may work
	// at the same time, so they share nothing that they change.
	NewRun(m seam.Model, plan Plan, samples int) (Run, error)
}

// Kind is what a policy does in place of computing.
type Kind string

const (
	Uncached     Kind = "uncached"     // nothing: everything is computed
	Caches       Kind = "caches"       // it reuses what an earlier step computed
	Extrapolates Kind = "extrapolates" // it forecasts from what earlier steps computed
	Merges       Kind = "merges"       // it computes merged tokens, and keeps nothing from step to step
	SkipsSteps   Kind = "skips steps"  // it reuses, at whole steps, what all blocks together added
)

// Granularity is the smallest part of a model for which a policy decides; always for one sample.
type Granularity string

const (
	ByToken  Granularity = "token"
	ByBranch Granularity = "branch" // attention or MLP of a block
	ByBlock  Granularity = "block"
	ByStep   Granularity = "step" // all blocks together
)

// Described is a Policy that says what kind of method it is. All policies of this package do.
type Described interface {
	Policy
	Kind() Kind
	Granularity() Granularity
}

// WholeBatcher is a Policy that may need all images of a batch in one pass, such as an observed one
// or a policy that learns from them. Policies that only generate are none: every image gets its own
// Run, and joins and leaves passes as it comes.
type WholeBatcher interface {
	Policy
	WholeBatch() bool
}

// Scheduled is a Policy that may know beforehand what its steps cost.
type Scheduled interface {
	Policy
	// Shares returns for each position the share of the pairs of block and token that is computed,
	// a branch counting half a pair; nil if it is not known beforehand. Under guidance (of plan) it
	// is the mean over both halves.
	Shares(m *seam.Shape, plan Plan) ([]float64, error)
}

// sharesOf returns the Shares of a policy, nil if it has none.
func sharesOf(p Policy, m *seam.Shape, plan Plan) ([]float64, error) {
	if s, ok := p.(Scheduled); ok {
		return s.Shares(m, plan)
	}
	return nil, nil
}

// sharesBy returns the share of each position of a plan.
func sharesBy(plan Plan, share func(position int) float64) []float64 {
	list := make([]float64, plan.Steps())
	for p := range list {
		list[p] = share(p)
	}
	return list
}

// ContentHasher is a Policy with content beyond its text, such as learned weights.
type ContentHasher interface {
	Policy
	// ContentHash is the same for two policies only if they do the same, bit for bit, wherever they
	// are stored.
	ContentHash() string
}

// ContentHash identifies what a policy does: by its text if there is nothing else to it.
func ContentHash(p Policy) string {
	if h, ok := p.(ContentHasher); ok {
		return h.ContentHash()
	}
	return p.String()
}

// Run is the state of a policy for one batch.
type Run interface {
	seam.Reuse
	// Begin is told, before every forward pass, the Graph that it runs on, the batch, and the
	// position of each of its samples. After a pass that it rejected as a seam.Finisher it is told
	// of the same positions again.
	Begin(g *tensor.Graph, b *seam.Batch, positions []int)
	// Reset forgets everything, for another batch.
	Reset()
	// Stats returns what was done since the Run was made.
	Stats() Cost
}

// Cost is what it took to sample images. A Run counts steps and rows, in sums over samples; the
// rest is counted by the engine.
type Cost struct {
	ISteps    int `json:"i_steps"`              // at which every token was computed in every block
	PSteps    int `json:"p_steps"`              // the others
	HalfSteps int `json:"half_steps,omitempty"` // P-steps at which one half of guidance was computed

	Rows         int64 `json:"rows,omitempty"`          // tokens, over all steps and blocks
	ComputedRows int64 `json:"computed_rows,omitempty"` // those that were computed

	FLOPs         int64 `json:"flops"`          // of model and policy, as tensor.Graph counts
	UncachedFLOPs int64 `json:"uncached_flops"` // of the model alone for the same images
	CacheBytes    int64 `json:"cache_bytes"`    // the most that the policy held

	Seconds float64 `json:"denoise_s,omitempty"` // wall-clock time of model, guidance and sampler
}

// FLOPReduction returns how many times fewer operations than the uncached model were needed, or 0
// if that is not known.
func (c *Cost) FLOPReduction() float64 {
	if c.FLOPs <= 0 || c.UncachedFLOPs <= 0 {
		return 0
	}
	return float64(c.UncachedFLOPs) / float64(c.FLOPs)
}

// Add adds another cost; of the bytes the larger counts.
func (c *Cost) Add(d Cost) {
	c.ISteps += d.ISteps
	c.PSteps += d.PSteps
	c.HalfSteps += d.HalfSteps
	c.Rows += d.Rows
	c.ComputedRows += d.ComputedRows
	c.FLOPs += d.FLOPs
	c.UncachedFLOPs += d.UncachedFLOPs
	c.CacheBytes = max(c.CacheBytes, d.CacheBytes)
	c.Seconds += d.Seconds
}

// Since returns what was counted after a Run's earlier count b.
func (c Cost) Since(b Cost) Cost {
	c.ISteps -= b.ISteps
	c.PSteps -= b.PSteps
	c.HalfSteps -= b.HalfSteps
	c.Rows -= b.Rows
	c.ComputedRows -= b.ComputedRows
	return c
}
