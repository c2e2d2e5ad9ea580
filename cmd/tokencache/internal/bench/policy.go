package bench

import (
	"context"
	"math"
	"time"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/busy"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// PolicyReport is the cost of the steps of a policy, with selection, gathers and forecasts.
type PolicyReport struct {
	Arch    string `json:"arch"`
	Policy  string `json:"policy"`
	Batch   int    `json:"batch"`
	DType   string `json:"dtype"`
	Threads int    `json:"threads"`
	Level   string `json:"level"`

	// Cost is that of the measured steps, each of a whole batch.
	reuse.Cost

	UncachedMS float64 `json:"uncached_ms"`     // a step without a policy, alternating with the others
	IStepMS    float64 `json:"i_step_ms"`       // a step that computes everything
	PStepMS    float64 `json:"p_step_ms"`       // a step that reuses something
	Ratio      float64 `json:"ratio"`           // of a P-step to an I-step
	FLOPRatio  float64 `json:"flops_ratio"`     // likewise, counted
	Share      float64 `json:"tokens_computed"` // on P-steps

	// Disturbed says why the times may be wrong.
	Disturbed []string `json:"disturbed,omitempty"`
}

// PolicyOptions says what to measure.
type PolicyOptions struct {
	Network Network
	Batch   int
	DType   tensor.DType
	Policy  reuse.Policy
	Steps   int // of the sampler's first steps, each next to an uncached one
	Threads int
}

// plannedSteps is the number of steps of the sampler whose first steps are measured.
const plannedSteps = 50

// policyPlan is a plan of DDIM.
func policyPlan() reuse.Plan {
	plan := reuse.Plan{Sampling: diffusion.Sampling{Sampler: "ddim", Steps: plannedSteps}}
	for p := range plannedSteps {
		t := float64(980 - 20*p)
		plan.Timesteps = append(plan.Timesteps, t)
		plan.Sigma = append(plan.Sigma, math.Exp(5*t/1000-1))
	}
	return plan
}

// policyBench measures steps of a policy.
type policyBench struct {
	load float64 // of the machine before

	model     *model
	graph     *tensor.Graph
	run       reuse.Run
	batch     *seam.Batch
	positions []int

	uncached, full, partial []float64 // seconds of steps
	fullFLOPs, partialFLOPs int64     // of a step
	rows, computedRows      int64     // of the P-steps
	cost                    reuse.Cost
}

// forward makes a pass and returns its time in seconds.
func (b *policyBench) forward(r seam.Reuse) float64 {
	b.graph.ResetFLOPs()
	start := time.Now()
	for again := true; again; {
		b.graph.Reset()
		if r != seam.Always {
			b.run.Begin(b.graph, b.batch, b.positions)
		}
		again = seam.Finish(r, seam.Forward(b.graph, b.model, r, b.batch))
	}
	return time.Since(start).Seconds()
}

// step measures the step at a position, without the policy and with it.
func (b *policyBench) step(p int, timestep float32) {
	for i := range b.positions {
		b.positions[i], b.batch.T[i] = p, timestep
	}
	for i, v := range b.batch.X.Flat() {
		b.batch.X.Flat()[i] = 0.98*v + 0.001*float32(i%7)
	}
	b.uncached = append(b.uncached, b.forward(seam.Always))
	b.cost.UncachedFLOPs += b.graph.FLOPs()
	before := b.run.Stats()
	seconds := b.forward(b.run)
	after := b.run.Stats()
	rows, computed := after.Rows-before.Rows, after.ComputedRows-before.ComputedRows
	b.cost.FLOPs += b.graph.FLOPs()
	b.cost.Rows += rows
	b.cost.ComputedRows += computed
	if after.PSteps == before.PSteps {
		b.full, b.fullFLOPs = append(b.full, seconds), b.graph.FLOPs()
		return
	}
	b.partial, b.partialFLOPs = append(b.partial, seconds), b.graph.FLOPs()
	b.rows += rows
	b.computedRows += computed
	if after.HalfSteps > before.HalfSteps {
		b.cost.HalfSteps++
	}
}

// Policy measures the first steps of a policy on a model with synthetic weights.
func Policy(ctx context.Context, o PolicyOptions) (*PolicyReport, error) {
	m, err := o.Network.load(o.DType)
	if err != nil {
		return nil, err
	}
	pool := tensor.NewPool(o.Threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	g.SetContext(ctx)
	plan := policyPlan()
	bytes, err := o.Policy.CacheBytes(m, plan, o.Batch)
	if err != nil {
		return nil, err
	}
	run, err := o.Policy.NewRun(m, plan, o.Batch)
	if err != nil {
		return nil, err
	}
	b := &policyBench{
		load:      busy.Load(),
		model:     m,
		graph:     g,
		run:       run,
		batch:     m.samples(o.Batch),
		positions: make([]int, o.Batch),
	}
	b.forward(seam.Always) // grows the graph's memory
	for p := range min(o.Steps, plannedSteps) {
		b.step(p, float32(plan.Timesteps[p]))
		if err := g.Err(); err != nil {
			return nil, err
		}
	}
	r := b.report()
	r.Arch, r.Policy, r.Batch = o.Network.Name(), o.Policy.String(), o.Batch
	r.Threads, r.Level, r.DType = pool.Workers(), kernel.LevelOf(o.DType).String(), o.DType.String()
	r.CacheBytes = bytes
	return r, nil
}

// report sums up the measured steps.
func (b *policyBench) report() *PolicyReport {
	r := &PolicyReport{Cost: b.cost, UncachedMS: 1e3 * median.Of(b.uncached)}
	r.Disturbed = disturbed(b.load, 0, b.uncached)
	r.ISteps, r.PSteps = len(b.full), len(b.partial)
	if len(b.full) == 0 {
		return r
	}
	r.IStepMS = 1e3 * median.Of(b.full)
	if len(b.partial) == 0 {
		return r
	}
	r.PStepMS = 1e3 * median.Of(b.partial)
	r.Ratio = r.PStepMS / r.IStepMS
	r.FLOPRatio = float64(b.partialFLOPs) / float64(b.fullFLOPs)
	r.Share = float64(b.computedRows) / float64(max(b.rows, 1))
	return r
}
