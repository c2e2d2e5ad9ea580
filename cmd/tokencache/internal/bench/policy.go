package bench

import (
	"context"
	"math"
	"time"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// PolicyReport is what the steps of a policy take, selection, gathers and forecasts included.
type PolicyReport struct {
	Arch    string `json:"arch"`
	Policy  string `json:"policy"`
	Batch   int    `json:"batch"`
	Threads int    `json:"threads"`
	Level   string `json:"level"`

	UncachedMS float64 `json:"uncached_ms"`     // a step without a policy, measured in turn with the others
	IStepMS    float64 `json:"i_step_ms"`       // a step that computes everything
	PStepMS    float64 `json:"p_step_ms"`       // a step that reuses something
	Ratio      float64 `json:"ratio"`           // of a P-step to an I-step
	FLOPs      float64 `json:"flops_ratio"`     // likewise, counted
	Share      float64 `json:"tokens_computed"` // on P-steps
	CacheBytes int64   `json:"cache_bytes"`     // as the policy counts it
	ISteps     int     `json:"i_steps"`         // measured
	PSteps     int     `json:"p_steps"`         // measured
}

// PolicyOptions says what to measure.
type PolicyOptions struct {
	Config  dit.Config
	Batch   int
	Policy  reuse.Policy
	Steps   int // of the sampler's first steps, each beside an uncached one
	Threads int
}

// Policy measures the first steps of a policy on a model with synthetic weights.
func Policy(ctx context.Context, o PolicyOptions) (*PolicyReport, error) {
	m, err := dit.New(o.Config, source{}, false)
	if err != nil {
		return nil, err
	}
	pool := tensor.NewPool(o.Threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	g.SetContext(ctx)
	const steps = 50
	plan := reuse.Plan{Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 50}}
	for p := range steps {
		t := float64(980 - 20*p)
		plan.Timesteps = append(plan.Timesteps, t)
		plan.Sigma = append(plan.Sigma, math.Exp(5*t/1000-1))
	}
	bytes, err := o.Policy.CacheBytes(m, plan, o.Batch)
	if err != nil {
		return nil, err
	}
	run, err := o.Policy.NewRun(m, plan, o.Batch)
	if err != nil {
		return nil, err
	}
	b := samples(o.Config, o.Batch)
	positions := make([]int, o.Batch)
	var uncached, full, partial []float64
	var fullFLOPs, partialFLOPs, tokens, done int64
	forward := func(r seam.Reuse) float64 {
		g.Reset()
		g.ResetFLOPs()
		start := time.Now()
		if r != seam.Always {
			run.Begin(g, b, positions)
		}
		m.Forward(g, r, b)
		return time.Since(start).Seconds()
	}
	forward(seam.Always) // grows the graph's memory
	for p := range min(o.Steps, steps) {
		for i := range o.Batch {
			positions[i], b.T[i] = p, float32(plan.Timesteps[p])
		}
		for i, v := range b.X.Flat() {
			b.X.Flat()[i] = 0.98*v + 0.001*float32(i%7)
		}
		uncached = append(uncached, forward(seam.Always))
		before := run.Stats()
		seconds := forward(run)
		after := run.Stats()
		if after.PSteps > before.PSteps {
			partial, partialFLOPs = append(partial, seconds), g.FLOPs()
			tokens, done = tokens+after.Rows-before.Rows, done+after.ComputedRows-before.ComputedRows
		} else {
			full, fullFLOPs = append(full, seconds), g.FLOPs()
		}
		if err := g.Err(); err != nil {
			return nil, err
		}
	}
	r := &PolicyReport{
		Arch: o.Config.Name(), Policy: o.Policy.String(), Batch: o.Batch, Threads: pool.Workers(), Level: kernel.ActiveLevel().String(),
		UncachedMS: 1e3 * median.Of(uncached), CacheBytes: bytes, ISteps: len(full), PSteps: len(partial),
	}
	if len(full) > 0 {
		r.IStepMS = 1e3 * median.Of(full)
	}
	if len(full) > 0 && len(partial) > 0 {
		r.PStepMS = 1e3 * median.Of(partial)
		r.Ratio, r.FLOPs, r.Share = r.PStepMS/r.IStepMS, float64(partialFLOPs)/float64(fullFLOPs), float64(done)/float64(max(tokens, 1))
	}
	return r, nil
}
