package dit

import (
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// normEps is the epsilon of every layer norm.
const normEps = 1e-6

// Block is a DiT block with adaptive layer norm, initialised to the identity by training
// (adaLN-Zero), section 3.2.
type Block struct {
	Attn  *nn.Attention
	MLP   *nn.MLP
	AdaLN *tensor.Weight // [6D, D], on the conditioning
	Skip  *tensor.Weight // [D, 2D], on the tokens next to those of a long skip; nil without one
}

// Forward maps tokens x [rows, D], which it may overwrite, to their values after block i, under
// their conditioning, which has passed SiLU.
func (b *Block) Forward(g *tensor.Graph, r seam.Reuse, i int, x *seam.Tokens) *seam.Tokens {
	x.ChargeSamples(g)
	// shiftMSA, scaleMSA, gateMSA, shiftMLP, scaleMLP, gateMLP: [samples, 6D]
	m := g.Linear(x.C, b.AdaLN)
	x.ChargeRows(g)
	if b.Skip == nil {
		return b.body(g, r, i, x, m)
	}
	x = b.join(g, x)
	if !r.Sites().Has(seam.Branches) {
		return b.body(g, r, i, x, m)
	}
	body := &passOf(g).body
	body.b, body.r, body.i, body.m = b, r, i, m
	return r.Apply(seam.Site{Block: i, Part: seam.Branches}, x, body.f)
}

// body adds both branches to x under the modulation m.
func (b *Block) body(g *tensor.Graph, r seam.Reuse, i int, x *seam.Tokens, m *tensor.Tensor) *seam.Tokens {
	x = b.addBranch(g, r, seam.Site{Block: i, Part: seam.Attention}, x, newModulation(g, m, 0))
	return b.addBranch(g, r, seam.Site{Block: i, Part: seam.MLP}, x, newModulation(g, m, 1))
}

// modulation is what the conditioning says of one branch, each [samples, D].
type modulation struct{ shift, scale, gate *tensor.Tensor }

func newModulation(g *tensor.Graph, m *tensor.Tensor, branch int) modulation {
	d := m.Cols / 6
	at := func(i int) *tensor.Tensor { return g.Columns(m, (3*branch+i)*d, (3*branch+i+1)*d) }
	return modulation{shift: at(0), scale: at(1), gate: at(2)}
}

// addBranch returns x + gate * branch(x). A branch is its hidden part and a last linear map: when
// nothing can be reused the gate and the sum ride on that map's product.
func (b *Block) addBranch(
	g *tensor.Graph, r seam.Reuse, at seam.Site, x *seam.Tokens, m modulation,
) *seam.Tokens {
	if !r.Sites().Has(at.Part) {
		h, last := b.hidden(g, at, x, m)
		return update(g, x, g.LinearGateResidual(x.X, m.gate, x.Rows, h, last))
	}
	in := seam.NewTokens(g)
	*in = *x
	in.Modulation = seam.NewModulation(g)
	*in.Modulation = seam.Modulation{Shift: m.shift, Scale: m.scale, Gate: m.gate, Eps: normEps}
	branch := &passOf(g).branch
	branch.b, branch.at, branch.m = b, at, m
	y := r.Apply(at, in, branch.f)
	return update(g, x, g.GateResidual(x.X, m.gate, x.Rows, y.X))
}

// hidden returns the input of a branch's last linear map, and that map.
func (b *Block) hidden(
	g *tensor.Graph, at seam.Site, x *seam.Tokens, m modulation,
) (*tensor.Tensor, *tensor.Weight) {
	z := g.LayerNormModulate(x.X, m.shift, m.scale, x.Rows, normEps)
	if at.Part == seam.MLP {
		return b.MLP.Hidden(g, z), b.MLP.FC2
	}
	qkv := g.Linear(z, b.Attn.QKV)
	if x.Parts == nil {
		return b.attend(g, g.New(z.Rows, z.Cols), at.Block, x, qkv, m), b.Attn.Proj
	}
	out := g.New(z.Rows, z.Cols)
	row, sample := 0, 0
	for _, p := range x.Parts {
		n, samples := p.Rows.Len(), p.Rows.Samples()
		p.ChargeRows(g)
		if n > 0 {
			b.attend(g, g.RowRange(out, row, row+n), at.Block, p, g.RowRange(qkv, row, row+n), modulation{
				shift: g.RowRange(m.shift, sample, sample+samples),
				scale: g.RowRange(m.scale, sample, sample+samples),
			})
		}
		row, sample = row+n, sample+samples
	}
	x.ChargeRows(g)
	return out, b.Attn.Proj
}

// attend sets out to the attention of tokens x, whose queries, keys and values are qkv [rows, 3D].
func (b *Block) attend(
	g *tensor.Graph, out *tensor.Tensor, block int, x *seam.Tokens, qkv *tensor.Tensor, m modulation,
) *tensor.Tensor {
	d := out.Cols
	in := tensor.AttentionInput{
		Heads: b.Attn.Heads,
		DType: tensor.AttentionIn(b.Attn.QKV.DType()),
		Q:     g.Columns(qkv, 0, d), QRows: x.Rows,
		K: g.Columns(qkv, d, 2*d), V: g.Columns(qkv, 2*d, 3*d), KRows: x.Rows,
		ColSums: x.ColSums,
	}
	keys := x.Pos
	if x.From != nil {
		z := g.LayerNormModulate(x.From.X, m.shift, m.scale, x.From.Rows, normEps)
		all := g.Linear(z, b.Attn.QKV)
		in.K, in.V, in.KRows = g.Columns(all, d, 2*d), g.Columns(all, 2*d, 3*d), x.From.Rows
		keys = x.From.Pos
	}
	if x.Keys != nil {
		kv := x.Keys(g, g.Columns(qkv, d, 3*d))
		in.K, in.V = g.Columns(kv, 0, d), g.Columns(kv, d, 2*d)
	}
	if x.KV != nil {
		in.K, in.V = x.KV.Update(g, block, x, g.Columns(qkv, d, 3*d))
		in.KRows, keys = x.KV.Rows()
	}
	if b.Attn.Bias != nil {
		b.Attn.Bias.AddTo(g, &in, x.Pos, keys)
	}
	return g.AttentionInto(out, in)
}

// update returns x with the values y, which in inference are x's own, changed in place.
func update(g *tensor.Graph, x *seam.Tokens, y *tensor.Tensor) *seam.Tokens {
	if y == x.X {
		return x
	}
	u := seam.NewTokens(g)
	*u = *x
	u.X, u.Modulation, u.ColSums = y, nil, nil
	return u
}
