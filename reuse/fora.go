package reuse

import (
	"fmt"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// FORA caches the outputs of attention and MLP ("FORA: Fast-Forward Caching in Diffusion Transformer Acceleration", arXiv 2407.01425). With steps counted down from T-1
// to 0, all is computed at T-1 and wherever the step is a multiple of N; at all others it is reused.
type FORA struct {
	N int `policy:"n"`
}

// String returns the policy as Parse takes it.
func (p *FORA) String() string { return paramText("fora", p) }

// Set changes one parameter.
func (p *FORA) Set(key, value string) error { return setParam("fora", p, key, value) }

// Validate reports parameters that have no meaning.
func (p *FORA) Validate() error {
	if p.N < 1 {
		return fmt.Errorf("n=%d: want 1 or more", p.N)
	}
	return nil
}

// CacheBytes implements Policy.
func (p *FORA) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	return branchesBytes(m.Shape(), samples, 0), p.Validate()
}

// NewRun implements Policy.
func (p *FORA) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	r := &foraRun{branches: newBranches(model.Shape(), plan, samples, 0), n: p.N}
	r.isFull = r.full
	return r, nil
}

type foraRun struct {
	*branches
	n      int
	isFull func(sample int) bool
}

func (r *foraRun) full(sample int) bool {
	p := r.positions[sample]
	return p == 0 || (r.steps-1-p)%r.n == 0
}

// Begin implements Run.
func (r *foraRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.positions = positions
	r.begin(g, positions, r.isFull)
}

// Apply implements seam.Reuse.
func (r *foraRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	return r.apply(at, x, f, r.isFull)
}
