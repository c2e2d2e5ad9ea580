package reuse

import (
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// changeRule is a method that skips all blocks while the changes of the first block's modulated
// input add up to less than a threshold: TeaCache and SeaCache.
type changeRule struct {
	threshold float64
	warmup    int                          // full steps at the start
	joint     bool                         // guidance's halves of an image decide together
	expected  func(change float64) float64 // what a change adds to the sum
	filter    *gridFilter                  // of the modulated input; nil: none
}

// changeRunBytes returns the memory of newChangeRun.
func changeRunBytes(m *seam.Shape, samples int) int64 {
	return residualBytes(m, 0, m.Blocks, samples) + 4*int64(samples)*int64(m.Tokens)*int64(m.Width)
}

// newChangeRun returns the Run of a changeRule.
func newChangeRun(rule changeRule, m *seam.Shape, plan Plan, samples int) *changeRun {
	rows := samples * m.Tokens
	r := &changeRun{
		rule:   rule,
		tokens: m.Tokens,
		width:  m.Width,
		steps:  plan.Steps(),
		all:    newResidual(m, 0, m.Blocks, samples),
		before: newRows(rows, m.Width),
		change: newRelativeChange(samples, m),
		sum:    make([]float64, samples),
		twin:   make(twins, samples),
		action: make([]residualAction, samples),
		index:  make([]int32, 0, rows),
	}
	r.keepRow = r.keep
	return r
}

// changeRun is the state of a changeRule. A step is full at the start, at the end, and where the
// sum of the relative L1 changes from step to step reaches the threshold; a full step sets it to 0.
// At the others the tokens get the residual of all blocks at the last full step.
type changeRun struct {
	rule                 changeRule
	g                    *tensor.Graph
	tokens, width, steps int
	all                  *residual      // of all blocks
	before               *tensor.Tensor // the modulated input at the step before, filtered, [rows, D]
	change               *relativeChange
	sum                  []float64 // of each sample: what was expected since its last full step
	stats                Cost

	positions []int
	twin      twins
	action    []residualAction // of each sample
	index     []int32          // rows of samples that compute
	now       *tensor.Tensor   // the modulated input, filtered
	keepRow   func(row int)
}

// Begin implements Run.
func (r *changeRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	if r.rule.joint {
		r.twin.pair(b, len(positions))
	} else {
		r.twin.part(len(positions))
	}
}

// Sites implements seam.Reuse.
func (r *changeRun) Sites() seam.Sites { return seam.SitesOf(seam.Block, seam.Attention, seam.MLP) }

// Apply implements seam.Reuse. Samples decide at the first block's attention, where the modulated
// input is known. The first block adds nothing to those that skip.
func (r *changeRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	switch {
	case at.Part == seam.Block:
		return r.whole(at.Block, x, f)
	case at.Block == 0 && at.Part == seam.Attention:
		r.decide(x.ModulatedInput(r.g))
		return r.first(x, f)
	case at.Block == 0 && at.Part == seam.MLP:
		return r.first(x, f)
	}
	return f(x)
}

func (r *changeRun) whole(block int, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.stats.Rows += int64(x.X.Rows)
	var y *seam.Tokens
	if block == 0 {
		// Which samples record is not known yet. To keep the entry of the others does no harm.
		for s := range r.positions {
			r.action[s] = recordResidual
		}
		r.all.before(r.g, block, x.X, r.action)
		y = f(x)
	} else {
		r.all.before(r.g, block, x.X, r.action)
		y = computeRows(r.g, x, r.index, f)
	}
	r.stats.ComputedRows += int64(len(r.index))
	r.all.after(r.g, block, y.X, r.action)
	return y
}

// decide sets what each sample does, given the modulated input.
func (r *changeRun) decide(now *tensor.Tensor) {
	if r.rule.filter != nil {
		now = r.rule.filter.apply(r.g, now, r.positions)
	}
	before := r.g.RowRange(r.before, 0, now.Rows)
	r.change.compare(r.g, now, before)
	for s, p := range r.positions {
		r.sum[s] += r.rule.expected(r.change.ofBoth(s, r.twin[s]))
		if p >= r.rule.warmup && p < r.steps-1 && r.sum[s] < r.rule.threshold {
			r.action[s] = reuseResidual
			r.stats.PSteps++
		} else {
			r.action[s], r.sum[s] = recordResidual, 0
			r.stats.ISteps++
		}
	}
	r.index = rowsOfSamples(r.index[:0], len(r.positions), r.tokens, func(s int) bool {
		return r.action[s] == recordResidual
	})
	r.now = now
	r.g.EachRow(now.Rows, r.width, r.keepRow)
}

func (r *changeRun) keep(row int) { copy(r.before.Row(row), r.now.Row(row)) }

// first computes a branch of the first block for the samples that compute, and 0 for the others.
func (r *changeRun) first(x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	if len(r.index) == x.X.Rows {
		return f(x)
	}
	out := r.g.New(x.X.Rows, r.width)
	clear(out.Data)
	if len(r.index) > 0 {
		r.g.Scatter(out, r.index, f(x.Gather(r.g, r.index)).X)
	}
	return x.With(out)
}

// Reset implements Run: the first step computes everything, so nothing of before is used.
func (r *changeRun) Reset() {}

// Stats implements Run.
func (r *changeRun) Stats() Cost { return r.stats }
