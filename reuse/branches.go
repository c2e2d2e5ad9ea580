package reuse

import (
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// branches is what methods share that cache the outputs of attention and MLP before their gates, for whole samples at a time. The gate is
// computed anew at every step.
type branches struct {
	g         *tensor.Graph
	tokens    int // of a sample
	width     int
	steps     int
	positions []int
	history   *history // of attention of block 0, MLP of block 0, attention of block 1, ...
	out       *tensor.Tensor
	stats     Cost

	// The site that runs.
	site     int
	x        *tensor.Tensor
	computed []bool // of each sample
	index    []int32
	fresh    *tensor.Tensor // what was computed; record overwrites it

	recordRow, forecastRow func(i int)
}

// branchesBytes returns the memory of a cache of branches.
func branchesBytes(m *seam.Shape, samples, order int) int64 {
	return historyBytes(2*m.Blocks, samples*m.Tokens, m.Width, order)
}

// newBranches returns the cache of branches, of forecasts of an order.
func newBranches(m *seam.Shape, plan Plan, samples, order int) *branches {
	rows, sites := samples*m.Tokens, 2*m.Blocks
	b := &branches{tokens: m.Tokens, width: m.Width, steps: plan.Steps()}
	b.history = newHistory(sites, rows, m.Width, order)
	b.computed, b.index = make([]bool, samples), make([]int32, 0, rows)
	b.recordRow, b.forecastRow = b.record, b.forecast
	return b
}

// Sites implements seam.Reuse.
func (b *branches) Sites() seam.Sites { return seam.SitesOf(seam.Attention, seam.MLP) }

// begin notes the positions, and counts samples that compute everything.
func (b *branches) begin(g *tensor.Graph, positions []int, full func(sample int) bool) {
	b.g = g
	b.positions = positions
	for s := range positions {
		if full(s) {
			b.stats.ISteps++
		} else {
			b.stats.PSteps++
		}
	}
}

// apply computes the branch for the samples that compute says, and gives the others the forecast of what was computed before.
func (b *branches) apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens, compute func(sample int) bool) *seam.Tokens {
	b.site, b.x = 2*at.Block, x.X
	if at.Part == seam.MLP {
		b.site++
	}
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
	b.history.record(b.site, row, b.positions[row/b.tokens], b.fresh.Row(i))
}

func (b *branches) forecast(row int) {
	if sample := row / b.tokens; !b.computed[sample] {
		clear(b.out.Row(row))
		b.history.addForecast(b.out.Row(row), b.site, row, b.positions[sample])
	}
}

// Reset implements Run.
func (b *branches) Reset() { b.history.reset() }

// Stats implements Run.
func (b *branches) Stats() Cost { return b.stats }
