package reuse

import (
	"fmt"

	"github.com/tokencache/tokencache/dit"
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

// NewRun implements Policy.
func (p *FORA) NewRun(g *tensor.Graph, m *dit.Model, plan Plan, samples int, limit int64) (Run, error) {
	b, err := newBranches("fora", g, m, plan, samples, 0, limit)
	if err != nil {
		return nil, err
	}
	r := &foraRun{branches: b, n: p.N}
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
func (r *foraRun) Begin(_ *dit.Batch, positions []int) {
	r.positions = positions
	r.begin(positions, r.isFull)
}

// Apply implements dit.Reuse.
func (r *foraRun) Apply(at dit.Site, x *dit.Tokens, f func(*dit.Tokens) *dit.Tokens) *dit.Tokens {
	if at.Part != dit.Attention && at.Part != dit.MLP {
		return f(x)
	}
	return r.apply(at, x, f, r.isFull)
}
