package reuse

import (
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// spanAction is what a span does for one sample in one forward pass.
type spanAction uint8

const (
	passSpan   spanAction = iota // nothing
	recordSpan                   // the span's blocks are computed, and what they add is kept
	reuseSpan                    // they are not, and what is kept is added
)

// span keeps what a run of consecutive blocks adds to the tokens of whole samples, R[n] = x[last,n] - x[first-1,n].
//
// The update is kept in one piece where nothing comes between the blocks. An MDT adds a position embedding before its decoder, which must not be counted twice, so the piece
// ends there; and the outputs of MDTv2's blocks are inputs of later ones, so there each block is a piece of its own.
type span struct {
	tokens int
	piece  []int // of each block: its piece, or -1 outside the span
	entry  *tensor.Tensor
	sums   []*tensor.Tensor // of each piece, [rows, D]

	// The block that runs.
	action         []spanAction // of each sample
	at             int          // the piece
	x              *tensor.Tensor
	keepRow, addUp func(row int)
}

// pieces returns for each block of m the piece of the span [from, to) that it is in, or -1, and the number of pieces.
func pieces(m *seam.Shape, from, to int) (piece []int, count int) {
	for block := range m.Blocks {
		if block < from || block >= to {
			piece = append(piece, -1)
			continue
		}
		if block == from || m.HasSkips() || m.AddedBefore(block) != nil {
			count++
		}
		piece = append(piece, count-1)
	}
	return piece, count
}

// spanBytes returns the memory of a span.
func spanBytes(m *seam.Shape, from, to, samples int) int64 {
	_, count := pieces(m, from, to)
	return 4 * int64(1+count) * int64(samples) * int64(m.Tokens) * int64(m.Width)
}

func newSpan(m *seam.Shape, from, to, samples int) *span {
	s := &span{tokens: m.Tokens}
	var count int
	s.piece, count = pieces(m, from, to)
	rows := samples * m.Tokens
	fresh := func() *tensor.Tensor { return tensor.FromSlice(make([]float32, rows*m.Width), rows, m.Width) }
	s.entry = fresh()
	for range count {
		s.sums = append(s.sums, fresh())
	}
	s.keepRow, s.addUp = s.keep, s.settle
	return s
}

// enter is told of the tokens before a block; action is for each sample.
func (s *span) enter(g *tensor.Graph, block int, x *tensor.Tensor, action []spanAction) {
	piece := s.piece[block]
	if piece < 0 || block > 0 && s.piece[block-1] == piece {
		return
	}
	s.x, s.action = x, action
	g.EachRow(x.Rows, x.Cols, s.keepRow)
}

func (s *span) keep(row int) {
	if s.action[row/s.tokens] == recordSpan {
		copy(s.entry.Row(row), s.x.Row(row))
	}
}

// leave is told of the tokens after a block, and adds the update to those of samples that reuse it.
func (s *span) leave(g *tensor.Graph, block int, y *tensor.Tensor, action []spanAction) {
	piece := s.piece[block]
	if piece < 0 || block+1 < len(s.piece) && s.piece[block+1] == piece {
		return
	}
	s.x, s.action, s.at = y, action, piece
	g.EachRow(y.Rows, y.Cols, s.addUp)
}

func (s *span) settle(row int) {
	x, sum := s.x.Row(row), s.sums[s.at].Row(row)
	switch s.action[row/s.tokens] {
	case recordSpan:
		kernel.Scale(sum, s.entry.Row(row), -1)
		kernel.Add(sum, sum, x)
	case reuseSpan:
		kernel.Add(x, x, sum)
	}
}

// some runs a block or branch for the rows that index names, and leaves the others of x as they are.
func some(g *tensor.Graph, x *seam.Tokens, index []int32, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	switch len(index) {
	case 0:
		return x
	case x.X.Rows:
		return f(x)
	}
	g.Scatter(x.X, index, f(x.Gather(g, index)).X)
	return x
}

// rowsOfSamples appends to index the rows of the samples, of tokens rows each, that are wanted.
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

// relativeChange returns for each sample the relative L1 change of its rows, |x - before| / |before|.
type relativeChange struct {
	tokens     int
	change     []float32 // of each row
	size       []float32
	zeros      []float32
	x, before  *tensor.Tensor
	measureRow func(row int)
}

func newRelativeChange(samples, tokens, width int) *relativeChange {
	c := &relativeChange{tokens: tokens, change: make([]float32, samples*tokens), size: make([]float32, samples*tokens), zeros: make([]float32, width)}
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
	c.size[row] = kernel.L1Diff(before, c.zeros)
}

// of returns the change of a sample, rows summed in their order.
func (c *relativeChange) of(sample int) float64 {
	change, size := 0.0, 0.0
	for row := sample * c.tokens; row < (sample+1)*c.tokens; row++ {
		change += float64(c.change[row])
		size += float64(c.size[row])
	}
	return change / size
}
