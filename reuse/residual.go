package reuse

import (
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// residualAction is what a residual does for one sample in one forward pass.
type residualAction uint8

const (
	ignoreResidual residualAction = iota // nothing
	recordResidual                       // the blocks are computed, and what they add is kept
	reuseResidual                        // they are not, and what is kept is added
)

// residual keeps what a range of consecutive blocks adds to the tokens of whole samples,
// R[n] = x[last,n] - x[first-1,n].
//
// It is one tensor where the blocks are consecutive. MDT's decoder embedding, which must not be
// counted twice, and MDTv2's long skips, to which a block's output is an input, split it into
// parts.
type residual struct {
	tokens int
	part   []int            // of each block: its part, or -1 outside the range
	entry  *tensor.Tensor   // the tokens before the part that runs, [rows, D]
	sums   []*tensor.Tensor // of each part, [rows, D]; nil where they are forecast

	// Where sums are forecast from those recorded before.
	past      *differences // of each part, nil elsewhere
	positions []int        // of each sample in the pass that runs; the owner sets them

	// The block that runs.
	action                 []residualAction // of each sample
	running                int              // its part
	x                      *tensor.Tensor
	keepEntryRow, applyRow func(row int)
}

// residualParts returns for each block of m the part of the range [from, to) that it is in, or -1,
// and the number of parts.
func residualParts(m *seam.Shape, from, to int) (part []int, count int) {
	for block := range m.Blocks {
		if block < from || block >= to {
			part = append(part, -1)
			continue
		}
		if block == from || m.HasSkips() || m.AddedBefore(block) != nil {
			count++
		}
		part = append(part, count-1)
	}
	return part, count
}

// residualBytes returns the memory of newResidual.
func residualBytes(m *seam.Shape, from, to, samples int) int64 {
	_, count := residualParts(m, from, to)
	return 4 * int64(1+count) * int64(samples) * int64(m.Tokens) * int64(m.Width)
}

// newResidual returns the residual of the blocks [from, to).
func newResidual(m *seam.Shape, from, to, samples int) *residual {
	r := &residual{tokens: m.Tokens}
	var count int
	r.part, count = residualParts(m, from, to)
	rows := samples * m.Tokens
	r.entry = newRows(rows, m.Width)
	for range count {
		r.sums = append(r.sums, newRows(rows, m.Width))
	}
	r.keepEntryRow, r.applyRow = r.keepEntry, r.apply
	return r
}

// forecastResidualBytes returns the memory of newForecastResidual.
func forecastResidualBytes(m *seam.Shape, from, to, samples, order int) int64 {
	_, count := residualParts(m, from, to)
	rows := samples * m.Tokens
	return 4*int64(rows)*int64(m.Width) + differencesBytes(m.Cache, count, rows, m.Width, order)
}

// newForecastResidual returns the residual of the blocks [from, to) that is not kept but forecast,
// by Taylor series of an order.
func newForecastResidual(m *seam.Shape, from, to, samples, order int) *residual {
	r := &residual{tokens: m.Tokens}
	var count int
	r.part, count = residualParts(m, from, to)
	rows := samples * m.Tokens
	r.entry = newRows(rows, m.Width)
	r.past = newDifferences(m.Cache, count, rows, m.Width, order)
	r.keepEntryRow, r.applyRow = r.keepEntry, r.applyForecast
	return r
}

// newRows returns rows of zeros.
func newRows(rows, width int) *tensor.Tensor {
	return tensor.FromSlice(make([]float32, rows*width), rows, width)
}

// before is told of the tokens before a block; action is for each sample.
func (r *residual) before(g *tensor.Graph, block int, x *tensor.Tensor, action []residualAction) {
	part := r.part[block]
	if part < 0 || block > 0 && r.part[block-1] == part {
		return
	}
	r.x, r.action = x, action
	g.EachRow(x.Rows, x.Cols, r.keepEntryRow)
}

func (r *residual) keepEntry(row int) {
	if r.action[row/r.tokens] == recordResidual {
		copy(r.entry.Row(row), r.x.Row(row))
	}
}

// after is told of the tokens after a block, and adds what is kept to those of samples that reuse
// it.
func (r *residual) after(g *tensor.Graph, block int, y *tensor.Tensor, action []residualAction) {
	part := r.part[block]
	if part < 0 || block+1 < len(r.part) && r.part[block+1] == part {
		return
	}
	r.x, r.action, r.running = y, action, part
	g.EachRow(y.Rows, y.Cols, r.applyRow)
}

func (r *residual) apply(row int) {
	x, sum := r.x.Row(row), r.sums[r.running].Row(row)
	switch r.action[row/r.tokens] {
	case recordResidual:
		kernel.Sub(sum, x, r.entry.Row(row))
	case reuseResidual:
		kernel.Add(x, x, sum)
	}
}

// applyForecast is apply where sums are forecast. What was kept before the part is used up.
func (r *residual) applyForecast(row int) {
	x, sample := r.x.Row(row), row/r.tokens
	switch r.action[sample] {
	case recordResidual:
		sum := r.entry.Row(row)
		kernel.Sub(sum, x, sum)
		r.past.record(r.running, row, r.positions[sample], sum)
	case reuseResidual:
		r.past.addForecast(x, r.running, row, r.positions[sample])
	}
}

// computeRows runs a block or branch for the rows that index names, in ascending order, and leaves
// the others of x as they are.
func computeRows(
	g *tensor.Graph, x *seam.Tokens, index []int32, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	switch len(index) {
	case 0:
		return x
	case x.X.Rows:
		return f(x)
	case int(index[len(index)-1]-index[0]) + 1:
		// One range of rows, such as a half of guidance, which need not be copied.
		some := x.Range(g, int(index[0]), int(index[0])+len(index))
		if made := f(some); made.X != some.X {
			copy(some.X.Flat(), made.X.Flat())
		}
		return x
	}
	g.Scatter(x.X, index, f(x.Gather(g, index)).X)
	return x
}

// rowsOfSamples appends to index the rows of the samples, of tokens rows each, for which wanted is
// true.
func rowsOfSamples(index []int32, samples, tokens int, wanted func(sample int) bool) []int32 {
	for s := range samples {
		if !wanted(s) {
			continue
		}
		for i := range tokens {
			index = append(index, int32(s*tokens+i))
		}
	}
	return index
}

// relativeChange returns for each sample the relative L1 change of its rows, |x - before| /
// |before|, of which those of a text do not count.
type relativeChange struct {
	tokens     int
	text       int       // of tokens, the first ones
	change     []float32 // of each row
	size       []float32 // likewise
	x, before  *tensor.Tensor
	measureRow func(row int)
}

func newRelativeChange(samples int, m *seam.Shape) *relativeChange {
	c := &relativeChange{
		tokens: m.Tokens,
		text:   m.Text,
		change: make([]float32, samples*m.Tokens),
		size:   make([]float32, samples*m.Tokens),
	}
	c.measureRow = c.measure
	return c
}

// compare takes in two states of a batch's tokens.
func (c *relativeChange) compare(g *tensor.Graph, x, before *tensor.Tensor) {
	c.x, c.before = x, before
	g.EachRow(x.Rows, x.Cols, c.measureRow)
}

func (c *relativeChange) measure(row int) {
	before := c.before.Row(row)
	c.change[row] = kernel.L1Diff(c.x.Row(row), before)
	c.size[row] = kernel.L1Norm(before)
}

// ofBoth returns the change of a sample and its twin together, rows summed in their order; of the
// sample alone if the twin is -1.
func (c *relativeChange) ofBoth(sample, twin int) float64 {
	change, size := c.sums(sample)
	if twin >= 0 {
		twinChange, twinSize := c.sums(twin)
		change, size = change+twinChange, size+twinSize
	}
	return change / size
}

func (c *relativeChange) sums(sample int) (change, size float64) {
	for row := sample*c.tokens + c.text; row < (sample+1)*c.tokens; row++ {
		change += float64(c.change[row])
		size += float64(c.size[row])
	}
	return change, size
}
