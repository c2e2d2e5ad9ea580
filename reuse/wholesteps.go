package reuse

import (
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// wholeSteps is what Runs share that compute all blocks or none, by a plan made beforehand.
type wholeSteps struct {
	full   []bool // of each position: everything is computed
	tokens int
	width  int
	blocks int
	stats  Cost

	g         *tensor.Graph
	positions []int
	index     []int32 // rows of samples that compute
}

func newWholeSteps(m *seam.Shape, samples int, full []bool) wholeSteps {
	return wholeSteps{
		full:   full,
		tokens: m.Tokens,
		width:  m.Width,
		blocks: m.Blocks,
		index:  make([]int32, 0, samples*m.Tokens),
	}
}

// Begin implements Run.
func (r *wholeSteps) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	r.index = r.index[:0]
	for s, p := range positions {
		if !r.full[p] {
			r.stats.PSteps++
			continue
		}
		r.stats.ISteps++
		for i := range r.tokens {
			r.index = append(r.index, int32(s*r.tokens+i))
		}
	}
}

// Sites implements seam.Reuse.
func (r *wholeSteps) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// block runs a block for the samples that compute.
func (r *wholeSteps) block(x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	return computeRows(r.g, x, r.index, f)
}

// isLast reports whether a site is that of the last block.
func (r *wholeSteps) isLast(at seam.Site) bool { return at.Block == r.blocks-1 }

// Stats implements Run.
func (r *wholeSteps) Stats() Cost { return r.stats }
