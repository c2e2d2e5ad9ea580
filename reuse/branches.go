package reuse

import (
	"fmt"

	"github.com/tokencache/tokencache/dit"
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
	stats     Stats

	// The site that runs.
	site     int
	x        *tensor.Tensor
	computed []bool // of each sample
	index    []int32
	fresh    *tensor.Tensor // what was computed; record overwrites it

	recordRow, forecastRow func(i int)
}

// newBranches returns the cache of branches, of forecasts of an order, within limit bytes.
func newBranches(method string, g *tensor.Graph, m *dit.Model, plan Plan, samples, order int, limit int64) (*branches, error) {
	rows, sites := samples*m.Tokens(), 2*len(m.Blocks)
	b := &branches{g: g, tokens: m.Tokens(), width: m.Hidden, steps: plan.Steps()}
	b.stats.CacheBytes = historyBytes(sites, rows, m.Hidden, order)
	if err := checkMemory(method, b.stats.CacheBytes, samples, limit); err != nil {
		return nil, err
	}
	b.history = newHistory(sites, rows, m.Hidden, order)
	b.computed, b.index = make([]bool, samples), make([]int32, 0, rows)
	b.recordRow, b.forecastRow = b.record, b.forecast
	return b, nil
}

// checkMemory refuses a cache of more than limit bytes.
func checkMemory(method string, bytes int64, samples int, limit int64) error {
	if limit > 0 && bytes > limit {
		return fmt.Errorf("the cache of %s for %d samples needs %.1f MB, and --cache-memory allows %.1f MB: give more, or a smaller --batch", method, samples, float64(bytes)/(1<<20), float64(limit)/(1<<20))
	}
	return nil
}

// begin notes the positions, and counts samples that compute everything.
func (b *branches) begin(positions []int, full func(sample int) bool) {
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
func (b *branches) apply(at dit.Site, x *dit.Tokens, f func(*dit.Tokens) *dit.Tokens, compute func(sample int) bool) *dit.Tokens {
	b.site, b.x = 2*at.Block, x.X
	if at.Part == dit.MLP {
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
	b.stats.Tokens += int64(x.X.Rows)
	b.stats.TokensDone += int64(len(b.index))
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
func (b *branches) Stats() Stats { return b.stats }
