package tokencache

import (
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// watchedRun is a policy's run that notes which tokens it has computed in the pass at hand, for
// Request.OnComputed. It does what the run does, bit for bit.
type watchedRun struct {
	reuse.Run
	images, tokens, blocks int
	computed               []float32 // [images, tokens]: share of the blocks
	inside                 int       // calls of Apply so far
	called                 bool
}

func watch(run reuse.Run, images int, shape *seam.Shape) *watchedRun {
	return &watchedRun{
		Run:      run,
		images:   images,
		tokens:   shape.Tokens,
		blocks:   shape.Blocks,
		computed: make([]float32, images*shape.Tokens),
	}
}

// Begin implements reuse.Run.
func (r *watchedRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	clear(r.computed)
	r.called = false
	r.Run.Begin(g, b, positions)
}

// Finish implements seam.Finisher, for a run that is one.
func (r *watchedRun) Finish(out *tensor.Tensor) bool { return seam.Finish(r.Run, out) }

// Apply implements seam.Reuse. A block within which the run is asked again counts by its branches,
// half of it each.
func (r *watchedRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.called = true
	r.inside++
	return r.Run.Apply(at, x, func(x *seam.Tokens) *seam.Tokens {
		before := r.inside
		y := f(x)
		if r.inside == before {
			r.count(at.Part, x)
		}
		return y
	})
}

// count takes in the rows of conditional samples for which a part of a block was computed.
func (r *watchedRun) count(part seam.Part, x *seam.Tokens) {
	share := 1 / float32(r.blocks)
	if part == seam.Attention || part == seam.MLP {
		share /= 2
	}
	for i, place := range x.Pos {
		sample := int(x.Rows.Sample[i])
		if sample >= r.images {
			break // rows stand in the order of samples
		}
		r.computed[sample*r.tokens+int(place)] += share
	}
}

// of returns, for each token of an image, the share of the blocks that the last pass computed. A
// branch that the run is never asked about is computed wherever its block is not reused as a whole.
func (r *watchedRun) of(image int) []float32 {
	computed := r.computed[image*r.tokens:][:r.tokens]
	rest := float32(0)
	sites := r.Sites()
	one := sites.Has(seam.Attention) != sites.Has(seam.MLP)
	switch {
	case !r.called && sites == 0:
		rest = 1
	case one && !sites.Has(seam.Block) && !sites.Has(seam.Branches):
		rest = 0.5
	}
	for i := range computed {
		computed[i] = min(1, computed[i]+rest)
	}
	return computed
}
