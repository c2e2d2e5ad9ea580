package minit2i

import (
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// pass is what a forward pass on a Graph keeps, so that running one makes little anew.
type pass struct {
	g      *tensor.Graph
	layout seam.Layout // of the batches last seen, all tokens
	block  blockCall
	branch branchCall
}

type passKey struct{}

func newPass() any {
	p := &pass{}
	p.block.f = func(x *seam.Tokens) *seam.Tokens {
		return p.block.b.forward(p.g, p.block.r, x)
	}
	p.branch.f = func(x *seam.Tokens) *seam.Tokens {
		return with(p.g, x, p.branch.b.branch(p.g, p.branch.part, x))
	}
	return p
}

func passOf(g *tensor.Graph) *pass {
	p := g.Scratch(passKey{}, newPass).(*pass)
	p.g = g
	return p
}

// ones returns the gate of branches that have none, [samples, H].
func (p *pass) ones(g *tensor.Graph, samples, width int) *tensor.Tensor {
	t := g.New(samples, width)
	for i := range t.Data {
		t.Data[i] = 1
	}
	return t
}

// blockCall is a block that is passed through a Reuse.
type blockCall struct {
	b *Block
	r seam.Reuse
	f func(*seam.Tokens) *seam.Tokens
}

// branchCall is one branch.
type branchCall struct {
	b    *Block
	part seam.Part
	f    func(*seam.Tokens) *seam.Tokens
}
