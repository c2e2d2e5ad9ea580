package reuse

import (
	"fmt"

	"github.com/tokencache/tokencache/seam"
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

// check reports a table that does not fit.
func (f *Fixed) check(m *seam.Shape, plan Plan) error {
	for _, row := range f.Compute {
		if len(row) != 2*m.Blocks {
			return fmt.Errorf("%s: a schedule of %d branches for a model of %d", f.Method, len(row), 2*m.Blocks)
		}
	}
	if len(f.Compute) > 0 && len(f.Compute) != plan.Steps() {
		return fmt.Errorf("%s: a schedule of %d steps for a plan of %d", f.Method, len(f.Compute), plan.Steps())
	}
	return nil
}

// CacheBytes implements Policy.
func (f *Fixed) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	return branchesBytes(m.Shape(), samples, 0), f.check(m.Shape(), plan)
}

// NewRun implements Policy. The first position always computes.
func (f *Fixed) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	if err := f.check(m.Shape(), plan); err != nil {
		return nil, err
	}
	r := &fixedRun{branches: newBranches(m.Shape(), plan, samples, 0), policy: f}
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
func (r *fixedRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.positions = positions
	r.begin(g, positions, func(s int) bool {
		for r.branch = range len(r.history.blocks) {
			if !r.computes(s) {
				return false
			}
		}
		return true
	})
}

// Apply implements seam.Reuse.
func (r *fixedRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.branch = 2 * at.Block
	if at.Part == seam.MLP {
		r.branch++
	}
	return r.apply(at, x, f, r.isComputed)
}
