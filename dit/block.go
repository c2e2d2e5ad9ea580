package dit

import (
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// normEps is the epsilon of every layer norm.
const normEps = 1e-6

// Block is a DiT block with adaptive layer norm, initialised to the identity by training (adaLN-Zero), section 3.2.
type Block struct {
	Attn  *nn.Attention
	MLP   *nn.MLP
	AdaLN *tensor.Weight // [6D, D], on the conditioning
	Skip  *tensor.Weight // [D, 2D], on the tokens and those of a long skip side by side; nil in a block without one
}

// Forward maps tokens x [rows, D], which it may overwrite, to their values after block i, under the conditioning c [samples, D], which
// has passed SiLU.
func (b *Block) Forward(g *tensor.Graph, r Reuse, i int, x *Tokens, c *tensor.Tensor) *Tokens {
	m := g.Linear(c, b.AdaLN) // shiftMSA, scaleMSA, gateMSA, shiftMLP, scaleMLP, gateMLP: [samples, 6D]
	if b.Skip == nil {
		return b.body(g, r, i, x, m)
	}
	x = b.join(g, x)
	if r == Always {
		return b.body(g, r, i, x, m)
	}
	joined := *x
	joined.Skip = nil
	return r.Apply(Site{i, Body}, &joined, func(x *Tokens) *Tokens { return b.body(g, r, i, x, m) })
}

// body adds both branches to x under the modulation m.
func (b *Block) body(g *tensor.Graph, r Reuse, i int, x *Tokens, m *tensor.Tensor) *Tokens {
	x = addBranch(g, r, Site{i, Attention}, x, b, newModulation(g, m, 0))
	return addBranch(g, r, Site{i, MLP}, x, b, newModulation(g, m, 1))
}

// modulation is what the conditioning says of one branch, each [samples, D].
type modulation struct{ shift, scale, gate *tensor.Tensor }

func newModulation(g *tensor.Graph, m *tensor.Tensor, branch int) modulation {
	d := m.Cols / 6
	at := func(i int) *tensor.Tensor { return g.Columns(m, (3*branch+i)*d, (3*branch+i+1)*d) }
	return modulation{shift: at(0), scale: at(1), gate: at(2)}
}

// addBranch returns x + gate * branch(x). A branch is its hidden part and a last linear map: when nothing can be reused the gate and the
// sum ride on that map's product.
func addBranch(g *tensor.Graph, r Reuse, at Site, x *Tokens, b *Block, m modulation) *Tokens {
	if r == Always {
		h, last := b.hidden(g, at, x, m)
		return x.update(g.LinearGateResidual(x.X, m.gate, x.Rows, h, last))
	}
	in := *x
	in.Modulated = func() *tensor.Tensor { return g.LayerNormModulate(x.X, m.shift, m.scale, x.Rows, normEps) }
	y := r.Apply(at, &in, func(x *Tokens) *Tokens {
		h, last := b.hidden(g, at, x, m)
		return x.With(g.Linear(h, last))
	})
	return x.update(g.GateResidual(x.X, m.gate, x.Rows, y.X))
}

// hidden returns the input of a branch's last linear map, and that map.
func (b *Block) hidden(g *tensor.Graph, at Site, x *Tokens, m modulation) (*tensor.Tensor, *tensor.Weight) {
	z := g.LayerNormModulate(x.X, m.shift, m.scale, x.Rows, normEps)
	if at.Part == MLP {
		return b.MLP.Hidden(g, z), b.MLP.FC2
	}
	qkv := g.Linear(z, b.Attn.QKV)
	d := z.Cols
	in := tensor.AttentionInput{
		Heads: b.Attn.Heads,
		Q:     g.Columns(qkv, 0, d), QRows: x.Rows,
		K: g.Columns(qkv, d, 2*d), V: g.Columns(qkv, 2*d, 3*d), KRows: x.Rows,
		ColSums: x.Given,
	}
	keys := x.Pos
	if x.From != nil {
		all := g.Linear(g.LayerNormModulate(x.From.X, m.shift, m.scale, x.From.Rows, normEps), b.Attn.QKV)
		in.K, in.V, in.KRows = g.Columns(all, d, 2*d), g.Columns(all, 2*d, 3*d), x.From.Rows
		keys = x.From.Pos
	}
	if x.Keys != nil {
		in.K, in.V = x.Keys.update(g, at.Block, x, g.Columns(qkv, d, 3*d))
		in.KRows, keys = x.Keys.all, x.Keys.pos
	}
	if b.Attn.Bias != nil {
		b.Attn.Bias.AddTo(g, &in, x.Pos, keys)
	}
	return g.Attention(in), b.Attn.Proj
}
