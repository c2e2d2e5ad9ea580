package dit

import (
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// pass is what a forward pass on a Graph keeps of its own, so that running one allocates nothing:
// the layout of whole batches, the outputs that MDTv2's long skips will bring, and the functions
// that a Reuse is given.
type pass struct {
	g      *tensor.Graph
	layout seam.Layout      // of the batches last seen, all tokens
	skips  []*tensor.Tensor // the patch embedding, then in-blocks' outputs whose out-block is to come
	block  blockCall
	body   bodyCall
	branch branchCall
}

type passKey struct{}

func newPass() any {
	p := &pass{}
	p.block.f = func(x *seam.Tokens) *seam.Tokens {
		c := p.block
		return c.b.Forward(p.g, c.r, c.i, x)
	}
	p.body.f = func(x *seam.Tokens) *seam.Tokens {
		c := p.body
		return c.b.body(p.g, c.r, c.i, x, c.m)
	}
	p.branch.f = func(x *seam.Tokens) *seam.Tokens {
		c := p.branch
		h, last := c.b.hidden(p.g, c.at, x, c.m)
		return update(p.g, x, p.g.Linear(h, last))
	}
	return p
}

// passOf returns what is kept with g.
func passOf(g *tensor.Graph) *pass {
	p := g.Scratch(passKey{}, newPass).(*pass)
	p.g = g
	return p
}

// blockCall is a block that is passed through a Reuse.
type blockCall struct {
	b *Block
	r seam.Reuse
	i int
	f func(*seam.Tokens) *seam.Tokens
}

// bodyCall is both branches of a block after its skip has joined.
type bodyCall struct {
	b *Block
	r seam.Reuse
	i int
	m *tensor.Tensor
	f func(*seam.Tokens) *seam.Tokens
}

// branchCall is one branch.
type branchCall struct {
	b  *Block
	at seam.Site
	m  modulation
	f  func(*seam.Tokens) *seam.Tokens
}
