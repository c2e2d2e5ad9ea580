// Package reuse holds cache policies: what of a denoising step is computed, and what is taken from the steps before. There is one file for each
// method, TokenCache first among them ("Token Caching for Diffusion Transformer Acceleration", arXiv 2409.18523).
//
// A Policy is a method with its parameters, immutable; a Run is its state for one batch of samples, and stands in the seam that package dit
// declares. Decisions are per sample, never averaged over a batch, and samples of one batch may stand at different steps. The package may know
// models and their activations; it knows no sampler beyond the list of its steps, and no files but those of policies.
//
// Positions of steps count up: position 0 is the first step taken, at the noisiest timestep.
package reuse

import (
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/tensor"
)

// Plan is what a policy must know of the sampler: its steps in the order in which they are taken.
type Plan struct {
	Sampler   string // ddpm, ddim, dpm++
	Spacing   string // as the user gave it: "50", "ddim50"
	Timesteps []int  // of each position, falling

	// Sigma is the noise of each position relative to the signal, sqrt(1/alpha-bar - 1).
	Sigma []float64
}

// Steps returns the number of steps.
func (p Plan) Steps() int { return len(p.Timesteps) }

// Policy is a cache method with its parameters.
type Policy interface {
	// String is the policy as --policy takes it.
	String() string
	// NewRun returns, with memory of its own, the state for batches of at most samples samples of m on plan, whose memory is at most limit bytes (0: unlimited). It fails if the policy does not
	// fit the model or the plan. A batch may be divided among several Runs that work at the same time, so they must not share what they change: see tokencache.Request.Undivided.
	NewRun(g *tensor.Graph, m *dit.Model, plan Plan, samples int, limit int64) (Run, error)
}

// Run is the state of a policy for one batch.
type Run interface {
	dit.Reuse
	// Begin is told, before every forward pass, the batch and the position of each of its samples.
	Begin(b *dit.Batch, positions []int)
	// Reset forgets everything, for another batch.
	Reset()
	// Stats returns what was done since the Run was made.
	Stats() Stats
}

// Stats says what a Run did, in sums over samples.
type Stats struct {
	ISteps     int   // steps of a sample at which every token was computed in every block
	PSteps     int   // the others
	HalfSteps  int   // those of the others at which only one half of guidance was computed, both halves counted
	TokensDone int64 // rows computed, over all blocks
	Tokens     int64 // rows that there were
	CacheBytes int64 // memory of the cache
}

// None is the policy that computes everything.
type None struct{}

// String returns "none".
func (None) String() string { return "none" }

// NewRun returns a Run that does nothing.
func (None) NewRun(*tensor.Graph, *dit.Model, Plan, int, int64) (Run, error) { return &noRun{}, nil }

type noRun struct{ stats Stats }

func (r *noRun) Apply(_ dit.Site, x *dit.Tokens, f func(*dit.Tokens) *dit.Tokens) *dit.Tokens {
	return f(x)
}

func (r *noRun) Begin(_ *dit.Batch, positions []int) { r.stats.ISteps += len(positions) }

func (r *noRun) Reset() {}

func (r *noRun) Stats() Stats { return r.stats }
