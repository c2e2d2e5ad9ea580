package minit2i

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Model is a MiniT2I in memory. It is not changed by running it and may serve several Graphs at
// once.
type Model struct {
	Config
	Fingerprint string       // of the weights: see nn.Loader.Fingerprint
	DType       tensor.DType // of the linear maps in all blocks

	patches   *tensor.Weight // proj1, [bottleneck, 3pp]
	patchOut  *tensor.Weight // proj2, [H, bottleneck]
	positions *tensor.Tensor // [N, H]
	maskToken *tensor.Tensor // [1, text width]
	textIn    *tensor.Weight // [H, text width]
	table     *tensor.Tensor // [vocabulary, text width], or nil
	preamble  []*textBlock
	Blocks    []*Block
	finalNorm *tensor.Tensor // [1, H]
	final     *tensor.Weight // [3pp, H]

	rotation *tensor.Rotation // of the places of a text, then of an image
	shape    seam.Shape
	null     func() *Prompt
}

// New reads a model from weights under their published names.
func New(c Config, src nn.Source) (*Model, error) { return load(c, nn.NewLoader(src)) }

// NewAs is New with the linear maps of all blocks, of texts and of images, in a number format. The
// first and the last maps and the embedding of texts stay float32.
func NewAs(d tensor.DType, c Config, src nn.Source) (*Model, error) {
	l := nn.NewLoader(src)
	l.SetDType(d)
	m, err := load(c, l)
	if err == nil {
		m.DType = d
	}
	return m, err
}

// NewTrainable reads a model for training, and returns its parameters.
func NewTrainable(c Config, src nn.Source) (*Model, []*tensor.Param, error) {
	l := nn.NewLoader(src)
	l.Train()
	m, err := load(c, l)
	return m, l.Params(), err
}

// NewFrozen is New for training something that works through the model: gradients go back through
// it, and its weights stay as they are.
func NewFrozen(c Config, src nn.Source) (*Model, error) {
	l := nn.NewLoader(src)
	l.Freeze()
	return load(c, l)
}

func load(c Config, l *nn.Loader) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	h, patch := c.Hidden, c.PatchSize*c.PatchSize*channels
	m := &Model{
		Config:    c,
		patches:   l.LinearNoBias(prefix+"img_embedder.proj1", c.Bottleneck, patch),
		patchOut:  l.Linear(prefix+"img_embedder.proj2", h, c.Bottleneck),
		positions: positions(c),
		maskToken: l.Table(prefix+"mask_token", 1, c.TextWidth),
		textIn:    l.LinearNoBias(prefix+"txt_embedder", h, c.TextWidth),
		finalNorm: l.Table(prefix+"final_layer.norm_final.weight", 1, h),
		final:     l.Linear(prefix+"final_layer.linear", patch, h),
		rotation:  rotation(c),
	}
	if c.Vocabulary > 0 {
		m.table = l.Table(prefix+"txt_tokens.weight", c.Vocabulary, c.TextWidth)
	}
	for i := range c.TextDepth {
		p := fmt.Sprintf("%stxt_preamble_blocks.%d.", prefix, i)
		m.preamble = append(m.preamble, &textBlock{loadStream(l, c, p), loadHeadNorms(l, c, p)})
		if err := l.Err(); err != nil {
			return nil, err
		}
	}
	for i := range c.Depth {
		p := fmt.Sprintf("%sdouble_blocks.%d.", prefix, i)
		b := &Block{
			index: i,
			model: m,
			last:  i == c.Depth-1,
			text:  loadStream(l, c, p+"txt_"),
			image: loadStream(l, c, p+"img_"),
			norms: loadHeadNorms(l, c, p),
		}
		b.normed[0], b.normed[1] = b.attentionInput, b.mlpInput
		m.Blocks = append(m.Blocks, b)
		if err := l.Err(); err != nil {
			return nil, err
		}
	}
	m.Fingerprint = l.Fingerprint()
	m.shape = seam.Shape{
		Fingerprint: m.Fingerprint,
		Blocks:      c.Depth,
		Tokens:      c.Tokens(),
		Text:        c.TextTokens,
		GridRows:    c.Side(),
		GridCols:    c.Side(),
		Width:       h,
		MLPHidden:   c.MLPHidden,
		Heads:       c.Heads,
		Channels:    channels,
		OutChannels: channels,
		LatentRows:  c.ImageSize,
		LatentCols:  c.ImageSize,
	}
	m.null = sync.OnceValue(m.newNull)
	return m, nil
}

// positions returns the fixed embedding of the image's places: sines and cosines of the column,
// then of the row, at H/4 frequencies each.
func positions(c Config) *tensor.Tensor {
	quarter := c.Hidden / 4
	t := tensor.FromSlice(make([]float32, c.ImageTokens()*c.Hidden), c.ImageTokens(), c.Hidden)
	for n := range c.ImageTokens() {
		row := t.Row(n)
		for k, at := range [2]int{n % c.Side(), n / c.Side()} {
			for i := range quarter {
				a := float64(at) * math.Pow(10000, -float64(i)/float64(quarter))
				row[2*k*quarter+i] = float32(math.Sin(a))
				row[(2*k+1)*quarter+i] = float32(math.Cos(a))
			}
		}
	}
	return t
}

// rotation returns the angles of the places of a text, and of an image, whose first half is turned
// by the row and whose second half by the column.
func rotation(c Config) *tensor.Rotation {
	dim := c.Hidden / c.Heads
	var angles []float64
	for n := range c.TextTokens {
		for j := range dim / 2 {
			angles = append(angles, float64(n)*math.Pow(10000, -2*float64(j)/float64(dim)))
		}
	}
	for n := range c.ImageTokens() {
		for _, at := range [2]int{n / c.Side(), n % c.Side()} {
			for j := range dim / 4 {
				angles = append(angles, float64(at)*math.Pow(10000, -4*float64(j)/float64(dim)))
			}
		}
	}
	return tensor.NewRotation(angles, dim)
}

// Forward returns the predicted image of each sample, [samples, 3*S*S], in g's memory. The batch's
// times are not used.
func (m *Model) Forward(g *tensor.Graph, r seam.Reuse, b *seam.Batch) *tensor.Tensor {
	return seam.Forward(g, m, r, b)
}

// Embed implements seam.Model: the prepared text of each sample, then its patches.
func (m *Model) Embed(g *tensor.Graph, b *seam.Batch) *seam.Tokens {
	patches := g.Patchify(b.X, channels, m.ImageSize, m.ImageSize, m.PatchSize)
	image := g.AddCyclic(g.Linear(g.Linear(patches, m.patches), m.patchOut), m.positions)
	t := seam.NewTokens(g)
	t.Rows, t.Pos = passOf(g).layout.Of(b.X.Rows, m.Tokens())
	text := m.texts(g, b.Cond)
	from := g.Ints(len(t.Pos))
	for i, p := range t.Pos {
		if s := t.Rows.Sample[i]; int(p) < m.TextTokens {
			from[i] = s*int32(m.TextTokens) + p
		} else {
			from[i] = -1 - (s*int32(m.ImageTokens()) + p - int32(m.TextTokens))
		}
	}
	t.X = g.Merge(text, image, from)
	return t
}

// Block implements seam.Model.
func (m *Model) Block(g *tensor.Graph, r seam.Reuse, i int, x *seam.Tokens) *seam.Tokens {
	mark := g.Mark()
	y := m.run(g, r, i, x)
	if g.Training() {
		return y // the backward pass needs the memory of every block
	}
	if y.X != x.X {
		copy(x.X.Flat(), y.X.Flat())
	}
	g.Release(mark)
	return x
}

func (m *Model) run(g *tensor.Graph, r seam.Reuse, i int, x *seam.Tokens) *seam.Tokens {
	inside := r
	if r.Sites().Within() == 0 {
		inside = seam.Always
	}
	if !r.Sites().Has(seam.Block) {
		return m.Blocks[i].forward(g, inside, x)
	}
	call := &passOf(g).block
	call.b, call.r = m.Blocks[i], inside
	return r.Apply(seam.Site{Block: i, Part: seam.Block}, x, call.f)
}

// Head implements seam.Model: the image tokens after the last block become the predicted image.
func (m *Model) Head(g *tensor.Graph, x *seam.Tokens) *tensor.Tensor {
	image := divide(g, x, m.TextTokens).image
	patches := g.Linear(g.RMSNorm(g.Gather(x.X, image), m.finalNorm, normEps), m.final)
	return g.Unpatchify(patches, channels, m.ImageSize, m.ImageSize, m.PatchSize)
}

// Shape implements seam.Model.
func (m *Model) Shape() *seam.Shape { return &m.shape }

// CheckCondition implements seam.Model.
func (m *Model) CheckCondition(c seam.Condition) error {
	if p, ok := c.(*Prompt); !ok || p == nil || p.model != m {
		return errors.New("a prompt that this model has prepared")
	}
	return nil
}

// NullCondition implements seam.Model: a text of mask tokens alone.
func (m *Model) NullCondition() seam.Condition { return m.null() }

// PassFLOPs implements seam.Model.
func (m *Model) PassFLOPs(samples int) int64 { return m.FLOPs(samples) }

// ActivationBytes implements seam.Model: the tokens, and at the widest point of a block its input,
// queries, keys and values before and after their norms, or the MLP's hidden layers.
func (m *Model) ActivationBytes(samples int) int64 {
	rows := int64(samples) * int64(m.Tokens())
	columns := int64(3*m.Hidden) + 2*max(int64(6*m.Hidden), int64(4*m.MLPHidden))
	latents := int64(2*channels) * int64(m.ImageSize) * int64(m.ImageSize)
	return 4 * (rows*columns + int64(samples)*2*latents)
}

// weights lists the linear maps.
func (m *Model) weights() []*tensor.Weight {
	return append([]*tensor.Weight{m.patches, m.patchOut, m.textIn, m.final}, m.BlockWeights()...)
}

// BlockWeights lists the linear maps of all blocks: not those of patches, of the text's embedding and
// the final one.
func (m *Model) BlockWeights() []*tensor.Weight {
	var list []*tensor.Weight
	for _, b := range m.preamble {
		list = append(list, b.weights()...)
	}
	for _, b := range m.Blocks {
		list = append(append(list, b.text.weights()...), b.image.weights()...)
	}
	return list
}

// Repack makes a trainable model see its parameters' values after they changed.
func (m *Model) Repack() { tensor.RepackAll(m.weights()) }

// Bytes returns the memory that the weights take.
func (m *Model) Bytes() int64 {
	total := 4 * int64(len(m.positions.Data))
	if m.table != nil {
		total += 4 * int64(len(m.table.Data))
	}
	for _, w := range m.weights() {
		total += w.Bytes()
	}
	return total
}
