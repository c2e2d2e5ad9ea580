package reuse

import (
	"fmt"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/tensor"
)

// Fixed computes each branch of each block at the positions that a table names and reuses its last output elsewhere: what SmoothCache and Learning-to-Cache
// come to once they are calibrated or trained.
type Fixed struct {
	Method  string
	Compute [][]bool // of each position: attention of block 0, MLP of block 0, attention of block 1, ...; positions beyond are computed
}

// String returns the method.
func (f *Fixed) String() string { return f.Method }

// NewRun implements Policy. The first position always computes.
func (f *Fixed) NewRun(g *tensor.Graph, m *dit.Model, plan Plan, samples int, limit int64) (Run, error) {
	for _, row := range f.Compute {
		if len(row) != 2*len(m.Blocks) {
			return nil, fmt.Errorf("%s: a schedule of %d branches for a model of %d", f.Method, len(row), 2*len(m.Blocks))
		}
	}
	if len(f.Compute) > 0 && len(f.Compute) != plan.Steps() {
		return nil, fmt.Errorf("%s: a schedule of %d steps for a plan of %d", f.Method, len(f.Compute), plan.Steps())
	}
	b, err := newBranches(f.Method, g, m, plan, samples, 0, limit)
	if err != nil {
		return nil, err
	}
	r := &fixedRun{branches: b, policy: f}
	r.isComputed = r.computes
	return r, nil
}

type fixedRun struct {
	*branches
	policy     *Fixed
	branch     int // that runs
	isComputed func(sample int) bool
}

func (r *fixedRun) computes(sample int) bool {
	p := r.positions[sample]
	return p == 0 || p >= len(r.policy.Compute) || r.policy.Compute[p][r.branch]
}

// Begin implements Run.
func (r *fixedRun) Begin(_ *dit.Batch, positions []int) {
	r.positions = positions
	r.begin(positions, func(s int) bool {
		for r.branch = range len(r.history.blocks) {
			if !r.computes(s) {
				return false
			}
		}
		return true
	})
}

// Apply implements dit.Reuse.
func (r *fixedRun) Apply(at dit.Site, x *dit.Tokens, f func(*dit.Tokens) *dit.Tokens) *dit.Tokens {
	switch at.Part {
	case dit.Attention:
		r.branch = 2 * at.Block
	case dit.MLP:
		r.branch = 2*at.Block + 1
	default:
		return f(x)
	}
	return r.apply(at, x, f, r.isComputed)
}
