package reuse

import (
	"fmt"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TaylorSeer forecasts the outputs of attention and MLP ("From Reusing to Forecasting: Accelerating Diffusion Models with TaylorSeers", arXiv 2503.06923): all is computed at the
// first two steps and then at every Interval-th; in between each branch's output is its Taylor series over the computed steps, of at most Order.
type TaylorSeer struct {
	Interval int `policy:"n"`
	Order    int `policy:"order"`
	Warmup   int `policy:"warmup"` // steps computed at the start
}

// String returns the policy as Parse takes it.
func (p *TaylorSeer) String() string { return paramText("taylorseer", p) }

// Set changes one parameter.
func (p *TaylorSeer) Set(key, value string) error { return setParam("taylorseer", p, key, value) }

// Validate reports parameters that have no meaning.
func (p *TaylorSeer) Validate() error {
	const mostTaylor = 4
	switch {
	case p.Interval < 1:
		return fmt.Errorf("n=%d: want 1 or more", p.Interval)
	case p.Order < 0 || p.Order > mostTaylor:
		return fmt.Errorf("order=%d: want 0 to %d", p.Order, mostTaylor)
	case p.Warmup < 1:
		return fmt.Errorf("warmup=%d: want 1 or more", p.Warmup)
	}
	return nil
}

// CacheBytes implements Policy.
func (p *TaylorSeer) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	return branchesBytes(m.Shape(), samples, p.Order), p.Validate()
}

// NewRun implements Policy.
func (p *TaylorSeer) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	r := &taylorRun{branches: newBranches(model.Shape(), plan, samples, p.Order), policy: p}
	r.isFull = r.full
	return r, nil
}

type taylorRun struct {
	*branches
	policy *TaylorSeer
	isFull func(sample int) bool
}

func (r *taylorRun) full(sample int) bool {
	p, last := r.positions[sample], r.policy.Warmup-1
	return p <= last || (p-last)%r.policy.Interval == 0
}

// Begin implements Run.
func (r *taylorRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.positions = positions
	r.begin(g, positions, r.isFull)
}

// Apply implements seam.Reuse.
func (r *taylorRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	return r.apply(at, x, f, r.isFull)
}
