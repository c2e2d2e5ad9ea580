package reuse

import (
	"fmt"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// RouterMixing is the soft form of Learning-to-Cache, through which routers are trained with the
// model frozen: each branch's output before its gate, f, becomes
//
//	w·f + (1-w)·cached output
//
// with one w for each branch of each block. The cache is filled by a pass of the model at the step
// before.
type RouterMixing struct {
	g      *tensor.Graph
	rows   int
	cached []*tensor.Tensor // of each branch: [rows, D]
	mode   mixingMode
	alpha  []*tensor.Tensor // of each branch in a pass that mixes: w for each row, [rows, 1]
	weight []float32
}

type mixingMode uint8

const (
	computeOnly mixingMode = iota
	fillCache
	mixBranches
)

// NewRouterMixing returns the mixing for batches of exactly samples samples of m.
func NewRouterMixing(g *tensor.Graph, m *seam.Shape, samples int) *RouterMixing {
	r := &RouterMixing{g: g, rows: samples * m.Tokens, alpha: make([]*tensor.Tensor, 2*m.Blocks)}
	for range 2 * m.Blocks {
		r.cached = append(r.cached, newRows(r.rows, m.Width))
	}
	return r
}

// Fill makes the next pass of the model compute everything and fill the cache.
func (r *RouterMixing) Fill() { r.mode = fillCache }

// Compute makes the next pass compute everything and leave the cache as it is.
func (r *RouterMixing) Compute() { r.mode = computeOnly }

// Mix makes the next pass, which a tape is to record, mix with a weight for each branch.
func (r *RouterMixing) Mix(weight []float32) {
	if len(weight) != len(r.cached) {
		panic(fmt.Sprintf("reuse: %d weights for %d branches", len(weight), len(r.cached)))
	}
	r.mode, r.weight = mixBranches, weight
}

// Gradients sets dst to the gradients of the weights, after the pass that mixed and its backward
// pass.
func (r *RouterMixing) Gradients(dst []float64) {
	for i, alpha := range r.alpha {
		grad := r.g.Grad(alpha)
		dst[i] = 0
		for row := range grad.Rows {
			dst[i] += float64(grad.Row(row)[0])
		}
	}
}

// Sites implements seam.Reuse.
func (r *RouterMixing) Sites() seam.Sites { return seam.SitesOf(seam.Attention, seam.MLP) }

// Apply implements seam.Reuse.
func (r *RouterMixing) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	y := f(x)
	branch := branchOf(at)
	cached := r.cached[branch]
	switch r.mode {
	case fillCache:
		r.g.EachRow(r.rows, cached.Cols, func(i int) { copy(cached.Row(i), y.X.Row(i)) })
	case mixBranches:
		alpha := r.g.New(r.rows, 1)
		for i := range alpha.Data {
			alpha.Data[i] = r.weight[branch]
		}
		r.g.RequireGrad(alpha)
		r.alpha[branch] = alpha
		return x.With(r.g.Blend(alpha, y.X, cached))
	}
	return y
}
