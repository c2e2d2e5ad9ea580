package minit2i

import (
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// normEps is the epsilon of every norm.
const normEps = 1e-6

// stream holds the weights that tokens of one kind, text or image, have of a block.
type stream struct {
	norm, mlpNorm *tensor.Tensor // [1, H]
	qkv           *tensor.Weight // [3H, H]: queries, keys, values, each head by head
	proj          *tensor.Weight // [H, H]
	gate, value   *tensor.Weight // w1 and w3, [MLPHidden, H]
	out           *tensor.Weight // w2, [H, MLPHidden]
}

func loadStream(l *nn.Loader, c Config, p string) *stream {
	h := c.Hidden
	return &stream{
		norm:    l.Table(p+"norm1.weight", 1, h),
		qkv:     l.Inner(p+"qkv", 3*h, h),
		proj:    l.Inner(p+"attn_proj", h, h),
		mlpNorm: l.Table(p+"norm2.weight", 1, h),
		gate:    l.InnerNoBias(p+"mlp.w1", c.MLPHidden, h),
		out:     l.InnerNoBias(p+"mlp.w2", h, c.MLPHidden),
		value:   l.InnerNoBias(p+"mlp.w3", c.MLPHidden, h),
	}
}

// mlp returns w2(silu(w1 u)·w3 u) with u the norm of x.
func (s *stream) mlp(g *tensor.Graph, x *tensor.Tensor) *tensor.Tensor {
	u := g.RMSNorm(x, s.mlpNorm, normEps)
	return g.Linear(g.SwiGLU(g.Linear(u, s.gate), g.Linear(u, s.value)), s.out)
}

func (s *stream) weights() []*tensor.Weight {
	return []*tensor.Weight{s.qkv, s.proj, s.gate, s.value, s.out}
}

// headNorms normalize queries and keys, head by head, with one weight for all heads.
type headNorms struct{ q, k *tensor.Tensor } // [1, H/heads]

func loadHeadNorms(l *nn.Loader, c Config, p string) headNorms {
	head := c.Hidden / c.Heads
	return headNorms{q: l.Table(p+"q_norm.weight", 1, head), k: l.Table(p+"k_norm.weight", 1, head)}
}

// textBlock is a block of the text alone.
type textBlock struct {
	*stream
	norms headNorms
}

// forward maps whole texts to their values after the block.
func (b *textBlock) forward(g *tensor.Graph, m *Model, x *tensor.Tensor, rows *tensor.Rows, pos []int32) *tensor.Tensor {
	h := x.Cols
	qkv := g.Linear(g.RMSNorm(x, b.norm, normEps), b.qkv)
	attended := g.Attention(tensor.AttentionInput{
		Heads: m.Heads,
		DType: tensor.AttentionIn(b.qkv.DType()),
		Q:     m.turned(g, g.Columns(qkv, 0, h), b.norms.q, pos),
		K:     m.turned(g, g.Columns(qkv, h, 2*h), b.norms.k, pos),
		V:     g.Columns(qkv, 2*h, 3*h),
		QRows: rows,
		KRows: rows,
	})
	x = g.Add(x, g.Linear(attended, b.proj))
	return g.Add(x, b.mlp(g, x))
}

// turned returns queries or keys [rows, H] normalized and turned by their places.
func (m *Model) turned(g *tensor.Graph, x, norm *tensor.Tensor, pos []int32) *tensor.Tensor {
	return g.Rotate(g.RMSNorm(x, norm, normEps), m.rotation, pos)
}

// Block is a joint block: text and image have weights of their own and attend to all tokens.
type Block struct {
	index       int
	model       *Model
	last        bool // after it nothing reads the text
	text, image *stream
	norms       headNorms

	normed [2]func(*tensor.Graph, *seam.Tokens) *tensor.Tensor // the inputs of the two branches
}

// kinds divides rows of tokens into those of texts and of images.
type kinds struct {
	text, image []int32
	merged      []int32 // for Merge of text and image: where each row comes from

	tokens          *seam.Tokens
	textOf, imageOf []int32 // how many there are in each of the tokens' Parts
}

// divide divides tokens by their places, of which the first textTokens are a text's.
func divide(g *tensor.Graph, x *seam.Tokens, textTokens int) kinds {
	n := 0
	for _, p := range x.Pos {
		if int(p) < textTokens {
			n++
		}
	}
	k := kinds{
		text:   g.Ints(n)[:0],
		image:  g.Ints(len(x.Pos) - n)[:0],
		merged: g.Ints(len(x.Pos)),
		tokens: x,
	}
	for i, p := range x.Pos {
		if int(p) < textTokens {
			k.merged[i] = int32(len(k.text))
			k.text = append(k.text, int32(i))
		} else {
			k.merged[i] = -1 - int32(len(k.image))
			k.image = append(k.image, int32(i))
		}
	}
	if x.Parts == nil {
		return k
	}
	k.textOf, k.imageOf = g.Ints(len(x.Parts)), g.Ints(len(x.Parts))
	for i, part := range x.Parts {
		k.textOf[i] = 0
		for _, p := range part.Pos {
			if int(p) < textTokens {
				k.textOf[i]++
			}
		}
		k.imageOf[i] = int32(len(part.Pos)) - k.textOf[i]
	}
	return k
}

// each returns [rows, columns] in which f made the rows of text and image with their streams, each
// charged to the sequences by its own rows. With imageAlone, rows of text are zeros.
func (b *Block) each(
	g *tensor.Graph, x *tensor.Tensor, k kinds, imageAlone bool,
	f func(*tensor.Graph, *stream, *tensor.Tensor) *tensor.Tensor,
) *tensor.Tensor {
	switch {
	case len(k.image) == 0 && imageAlone:
		zeros := g.New(x.Rows, x.Cols)
		clear(zeros.Data)
		return zeros
	case len(k.image) == 0:
		return f(g, b.text, x)
	case len(k.text) == 0:
		return f(g, b.image, x)
	}
	k.tokens.ChargeParts(g, k.imageOf)
	defer k.tokens.ChargeRows(g)
	if !imageAlone {
		text, image := g.SplitRows(x, k.merged, len(k.text))
		image = f(g, b.image, image)
		k.tokens.ChargeParts(g, k.textOf)
		return g.JoinRows(f(g, b.text, text), image, k.merged)
	}
	image := f(g, b.image, g.Gather(x, k.image))
	zero := g.New(1, image.Cols)
	clear(zero.Data)
	from := g.Ints(len(k.merged))
	for i, row := range k.merged {
		from[i] = min(row, 0)
	}
	return g.Merge(zero, image, from)
}

// attentionInput returns the norm of tokens x, each row's under its stream's weight.
func (b *Block) attentionInput(g *tensor.Graph, x *seam.Tokens) *tensor.Tensor {
	return b.each(g, x.X, divide(g, x, b.model.TextTokens), false, func(g *tensor.Graph, s *stream, x *tensor.Tensor) *tensor.Tensor {
		return g.RMSNorm(x, s.norm, normEps)
	})
}

// mlpInput is the same before the MLP.
func (b *Block) mlpInput(g *tensor.Graph, x *seam.Tokens) *tensor.Tensor {
	return b.each(g, x.X, divide(g, x, b.model.TextTokens), false, func(g *tensor.Graph, s *stream, x *tensor.Tensor) *tensor.Tensor {
		return g.RMSNorm(x, s.mlpNorm, normEps)
	})
}

// qkv returns queries, keys and values of tokens, normalized and turned.
func (b *Block) qkv(g *tensor.Graph, x *tensor.Tensor, pos []int32, k kinds) (q, key, value *tensor.Tensor) {
	h := x.Cols
	all := b.each(g, x, k, false, func(g *tensor.Graph, s *stream, x *tensor.Tensor) *tensor.Tensor {
		return g.Linear(g.RMSNorm(x, s.norm, normEps), s.qkv)
	})
	return b.model.turned(g, g.Columns(all, 0, h), b.norms.q, pos),
		b.model.turned(g, g.Columns(all, h, 2*h), b.norms.k, pos),
		g.Columns(all, 2*h, 3*h)
}

// forward maps tokens x [rows, H], which it may overwrite, to their values after the block.
func (b *Block) forward(g *tensor.Graph, r seam.Reuse, x *seam.Tokens) *seam.Tokens {
	x = b.addBranch(g, r, seam.Attention, x)
	return b.addBranch(g, r, seam.MLP, x)
}

// addBranch returns x + branch(x).
func (b *Block) addBranch(g *tensor.Graph, r seam.Reuse, part seam.Part, x *seam.Tokens) *seam.Tokens {
	x.ChargeRows(g)
	var y *tensor.Tensor
	if r.Sites().Has(part) {
		in := x.Copy(g)
		in.Modulation = seam.NewModulation(g)
		*in.Modulation = seam.Modulation{Gate: passOf(g).ones(g, x.Rows.Samples(), x.X.Cols), Eps: normEps}
		call := &passOf(g).branch
		call.b, call.part = b, part
		if part == seam.Attention {
			in.Modulation.Input = b.normed[0]
		} else {
			in.Modulation.Input = b.normed[1]
		}
		y = r.Apply(seam.Site{Block: b.index, Part: part}, in, call.f).X
	} else {
		y = b.branch(g, part, x)
	}
	if g.Training() {
		return with(g, x, g.Add(x.X, y))
	}
	g.AddInto(x.X, y)
	return x
}

// with returns x with other values.
func with(g *tensor.Graph, x *seam.Tokens, y *tensor.Tensor) *seam.Tokens {
	u := x.Copy(g)
	u.X, u.Modulation, u.ColSums = y, nil, nil
	return u
}

// branch returns what a branch adds to tokens x.
func (b *Block) branch(g *tensor.Graph, part seam.Part, x *seam.Tokens) *tensor.Tensor {
	k := divide(g, x, b.model.TextTokens)
	if part == seam.MLP {
		return b.each(g, x.X, k, b.last, func(g *tensor.Graph, s *stream, x *tensor.Tensor) *tensor.Tensor { return s.mlp(g, x) })
	}
	q, key, value := b.qkv(g, x.X, x.Pos, k)
	out := b.attend(g, x, q, key, value)
	return b.each(g, out, k, b.last, func(g *tensor.Graph, s *stream, x *tensor.Tensor) *tensor.Tensor { return g.Linear(x, s.proj) })
}

// attend returns the attention of tokens x, sequence by sequence where they are of several.
func (b *Block) attend(g *tensor.Graph, x *seam.Tokens, q, key, value *tensor.Tensor) *tensor.Tensor {
	out := g.New(q.Rows, q.Cols)
	if x.Parts == nil {
		return b.attendOne(g, out, x, q, key, value)
	}
	row := 0
	for _, p := range x.Parts {
		n := p.Rows.Len()
		p.ChargeRows(g)
		if n > 0 {
			part := func(t *tensor.Tensor) *tensor.Tensor { return g.RowRange(t, row, row+n) }
			b.attendOne(g, part(out), p, part(q), part(key), part(value))
		}
		row += n
	}
	x.ChargeRows(g)
	return out
}

// attendOne sets out to the attention of the tokens of a sequence. In the last block the text does
// not attend: its rows of out are zeros.
func (b *Block) attendOne(g *tensor.Graph, out *tensor.Tensor, x *seam.Tokens, q, key, value *tensor.Tensor) *tensor.Tensor {
	in := tensor.AttentionInput{
		Heads:   b.model.Heads,
		DType:   tensor.AttentionIn(b.image.qkv.DType()),
		Q:       q,
		QRows:   x.Rows,
		K:       key,
		V:       value,
		KRows:   x.Rows,
		ColSums: x.ColSums,
	}
	if x.From != nil {
		_, in.K, in.V = b.qkv(g, x.From.X, x.From.Pos, divide(g, x.From, b.model.TextTokens))
		in.KRows = x.From.Rows
	}
	if x.Keys != nil {
		kv, d := x.Keys(g, g.Concat(key, value)), key.Cols
		in.K, in.V = g.Columns(kv, 0, d), g.Columns(kv, d, 2*d)
	}
	if x.KV != nil {
		in.K, in.V = x.KV.Update(g, b.index, x, g.Concat(key, value))
		in.KRows, _ = x.KV.Rows()
	}
	if !b.last || g.Training() || x.ColSums != nil {
		return g.AttentionInto(out, in)
	}
	image := divide(g, x, b.model.TextTokens).image
	counts := g.Ints(x.Rows.Samples())
	clear(counts)
	for _, row := range image {
		counts[x.Rows.Sample[row]]++
	}
	clearRows(out)
	if len(image) == 0 {
		return out
	}
	in.Q, in.QRows = g.Gather(q, image), g.Rows(counts)
	g.Scatter(out, image, g.Attention(in))
	return out
}

func clearRows(x *tensor.Tensor) {
	for i := range x.Rows {
		clear(x.Row(i))
	}
}
