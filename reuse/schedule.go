package reuse

import (
	"errors"
	"fmt"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// BranchSchedule computes each branch of each block at the positions that a table names, and reuses
// its last output elsewhere: what SmoothCache and Learning-to-Cache become once they are calibrated
// or trained.
type BranchSchedule struct {
	Method string
	// Compute tells for each position which branches compute: attention of block 0, MLP of block 0,
	// attention of block 1, and so on. At the first position all do.
	Compute [][]bool
}

// String returns the method.
func (b *BranchSchedule) String() string { return b.Method }

// Kind implements Described.
func (b *BranchSchedule) Kind() Kind { return Caches }

// Granularity implements Described.
func (b *BranchSchedule) Granularity() Granularity { return ByBranch }

// check reports a table that does not fit.
func (b *BranchSchedule) check(m *seam.Shape, plan Plan) error {
	if len(b.Compute) == 0 {
		return named(b.Method, errors.New("a schedule of no steps"))
	}
	for _, row := range b.Compute {
		if len(row) != 2*m.Blocks {
			return named(b.Method, fmt.Errorf("a schedule of %d branches for a model of %d", len(row), 2*m.Blocks))
		}
	}
	if len(b.Compute) != plan.Steps() {
		return named(b.Method, fmt.Errorf("a schedule of %d steps for a plan of %d", len(b.Compute), plan.Steps()))
	}
	return nil
}

// computes reports whether a branch computes at a position.
func (b *BranchSchedule) computes(position, branch int) bool {
	return position == 0 || b.Compute[position][branch]
}

// CacheBytes implements Policy.
func (b *BranchSchedule) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	return branchesBytes(m.Shape(), samples, 0), b.check(m.Shape(), plan)
}

// Shares implements Scheduled.
func (b *BranchSchedule) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	if err := b.check(m, plan); err != nil {
		return nil, err
	}
	return sharesBy(plan, func(p int) float64 {
		count := 0
		for branch := range 2 * m.Blocks {
			if b.computes(p, branch) {
				count++
			}
		}
		return float64(count) / float64(2*m.Blocks)
	}), nil
}

// NewRun implements Policy.
func (b *BranchSchedule) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	if err := b.check(m.Shape(), plan); err != nil {
		return nil, err
	}
	r := &scheduleRun{branches: newBranches(m.Shape(), plan, samples, 0), policy: b}
	r.isComputed = func(sample int) bool { return b.computes(r.positions[sample], r.running) }
	return r, nil
}

type scheduleRun struct {
	*branches
	policy     *BranchSchedule
	running    int // the branch
	isComputed func(sample int) bool
}

// Begin implements Run.
func (r *scheduleRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.begin(g, positions, func(s int) bool {
		for r.running = range r.policy.Compute[0] {
			if !r.isComputed(s) {
				return false
			}
		}
		return true
	})
}

// Apply implements seam.Reuse.
func (r *scheduleRun) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	r.running = branchOf(at)
	return r.apply(at, x, f, r.isComputed)
}
