package reuse

import (
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// branches is what methods share that cache the outputs of attention and MLP before their gates,
// for whole samples at a time. The gate is computed anew at every step.
type branches struct {
	g         *tensor.Graph
	tokens    int // of a sample
	width     int
	steps     int
	positions []int
	past      *differences // of attention of block 0, MLP of block 0, attention of block 1, ...
	out       *tensor.Tensor
	stats     Cost

	// The branch that runs.
	branch   int
	x        *tensor.Tensor
	computed []bool // of each sample
	trial    []bool // of each sample: what is computed of it is not recorded
	index    []int32
	fresh    *tensor.Tensor // what was computed; record overwrites it

	recordRow, forecastRow func(i int)
}

// branchOf returns the number of the branch at a site: attention of block 0, MLP of block 0,
// attention of block 1, and so on.
func branchOf(at seam.Site) int {
	if at.Part == seam.MLP {
		return 2*at.Block + 1
	}
	return 2 * at.Block
}

// branchesBytes returns the memory of newBranches.
func branchesBytes(m *seam.Shape, samples, order int) int64 {
	return differencesBytes(m.Cache, 2*m.Blocks, samples*m.Tokens, m.Width, order)
}

// newBranches returns the cache of all branches, with forecasts of an order.
func newBranches(m *seam.Shape, plan Plan, samples, order int) *branches {
	rows := samples * m.Tokens
	b := &branches{
		tokens:   m.Tokens,
		width:    m.Width,
		steps:    plan.Steps(),
		past:     newDifferences(m.Cache, 2*m.Blocks, rows, m.Width, order),
		computed: make([]bool, samples),
		trial:    make([]bool, samples),
		index:    make([]int32, 0, rows),
	}
	b.recordRow, b.forecastRow = b.record, b.forecast
	return b
}

// Sites implements seam.Reuse.
func (b *branches) Sites() seam.Sites { return seam.SitesOf(seam.Attention, seam.MLP) }

// begin notes the positions, and counts samples that compute everything.
func (b *branches) begin(g *tensor.Graph, positions []int, full func(sample int) bool) {
	b.g, b.positions = g, positions
	for s := range positions {
		if full(s) {
			b.stats.ISteps++
		} else {
			b.stats.PSteps++
		}
	}
}

// apply computes the branch for the samples for which compute is true, and gives the others the
// forecast from what was computed before.
func (b *branches) apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens, compute func(sample int) bool,
) *seam.Tokens {
	b.branch, b.x = branchOf(at), x.X
	b.index = b.index[:0]
	for s := range b.positions {
		if b.computed[s] = compute(s); b.computed[s] {
			for i := range b.tokens {
				b.index = append(b.index, int32(s*b.tokens+i))
			}
		}
	}
	b.stats.Rows += int64(x.X.Rows)
	b.stats.ComputedRows += int64(len(b.index))
	out := b.g.New(x.X.Rows, b.width)
	b.out = out
	if len(b.index) > 0 {
		if len(b.index) == x.X.Rows {
			b.fresh = f(x).X
		} else {
			b.fresh = f(x.Gather(b.g, b.index)).X
		}
		b.g.EachRow(len(b.index), b.width, b.recordRow)
	}
	if len(b.index) < x.X.Rows {
		b.g.EachRow(x.X.Rows, b.width, b.forecastRow)
	}
	return x.With(out)
}

func (b *branches) record(i int) {
	row := int(b.index[i])
	copy(b.out.Row(row), b.fresh.Row(i))
	if b.trial[row/b.tokens] {
		return
	}
	b.past.record(b.branch, row, b.positions[row/b.tokens], b.fresh.Row(i))
}

func (b *branches) forecast(row int) {
	if sample := row / b.tokens; !b.computed[sample] {
		clear(b.out.Row(row))
		b.past.addForecast(b.out.Row(row), b.branch, row, b.positions[sample])
	}
}

// Reset implements Run.
func (b *branches) Reset() { b.past.reset() }

// Stats implements Run.
func (b *branches) Stats() Cost { return b.stats }

// fullSteps is the Run of a method at whose full steps all branches are computed, and at whose
// other steps none is.
type fullSteps struct {
	*branches
	full   []bool // of each position
	isFull func(sample int) bool
}

func newFullSteps(m *seam.Shape, plan Plan, samples, order int, full func(position int) bool) *fullSteps {
	r := &fullSteps{branches: newBranches(m, plan, samples, order)}
	for p := range plan.Steps() {
		r.full = append(r.full, full(p))
	}
	r.isFull = func(sample int) bool { return r.full[r.positions[sample]] }
	return r
}

// fullShares returns the Shares of a method with full steps.
func fullShares(plan Plan, full func(position int) bool) []float64 {
	return sharesBy(plan, func(p int) float64 {
		if full(p) {
			return 1
		}
		return 0
	})
}

// Begin implements Run.
func (r *fullSteps) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.begin(g, positions, r.isFull)
}

// Apply implements seam.Reuse.
func (r *fullSteps) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	return r.apply(at, x, f, r.isFull)
}

// fullEvery reports whether a position is one of the first warmup ones, or a multiple of interval
// after the last of these.
func fullEvery(warmup, interval, position int) bool {
	last := warmup - 1
	return position <= last || (position-last)%interval == 0
}
