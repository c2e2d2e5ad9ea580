package reuse

import "github.com/tokencache/tokencache/seam"

// FORA caches the outputs of attention and MLP ("FORA: Fast-Forward Caching in Diffusion
// Transformer Acceleration", arXiv 2407.01425). With steps counted down from T-1 to 0, all is
// computed at T-1 and wherever the step is a multiple of N; at all others it is reused.
type FORA struct {
	N int `policy:"n,interval,cache-interval" min:"1" help:"period of full steps"`
}

// NewFORA returns a FORA with its defaults.
func NewFORA() *FORA { return &FORA{N: 3} }

// String returns the policy as Parse takes it.
func (p *FORA) String() string { return paramText("fora", p) }

// Set changes one parameter.
func (p *FORA) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *FORA) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *FORA) Kind() Kind { return Caches }

// Granularity implements Described.
func (p *FORA) Granularity() Granularity { return ByBranch }

// full returns which positions compute everything.
func (p *FORA) full(plan Plan) func(position int) bool {
	return func(position int) bool {
		return position == 0 || (plan.Steps()-1-position)%p.N == 0
	}
}

// CacheBytes implements Policy.
func (p *FORA) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	return branchesBytes(m.Shape(), samples, 0), named("fora", p.Validate())
}

// Shares implements Scheduled.
func (p *FORA) Shares(_ *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, named("fora", err)
	}
	return fullShares(plan, p.full(plan)), nil
}

// NewRun implements Policy.
func (p *FORA) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("fora", err)
	}
	return newFullSteps(m.Shape(), plan, samples, 0, p.full(plan)), nil
}
