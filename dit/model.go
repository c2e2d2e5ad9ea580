package dit

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Model is a DiT, an MDT or a SiT: it predicts, from noisy latents, the timestep and the class, the
// noise and, if it learned to, a mixing weight for the variance; a SiT a velocity. A Model is not changed by running it and
// may serve several Graphs at once.
type Model struct {
	Config
	Fingerprint string       // of the weights, whatever file they came in: see nn.Loader.Fingerprint
	DType       tensor.DType // number format of the blocks' linear maps

	patchEmbed *tensor.Weight // [D, C*p*p]
	posEmbed   *tensor.Tensor // [N, D]
	decoderPos *tensor.Tensor // [N, D], added before an MDT's decoder; nil in a DiT
	timestep   *nn.TimestepEmbedder
	class      *tensor.Tensor // [classes+1, D]; the last row is the null class of guidance
	Blocks     []*Block
	finalAdaLN *tensor.Weight // [2D, D]
	final      *tensor.Weight // [p*p*Cout, D]

	// The side-interpolater of an MDT, where the model was made for training, else nil.
	MaskToken *tensor.Tensor // [1, D], in place of what is masked
	Side      *Block

	shape seam.Shape
}

// PositionEmbedding returns the embedding, fixed in a DiT, of the tokens' places, [N, D]. The
// caller must not change it.
func (m *Model) PositionEmbedding() []float32 { return m.posEmbed.Data }

// DecoderPositionEmbedding returns what an MDT adds to the tokens before its decoder, [N, D],
// whatever a policy does with the blocks; nil in a DiT. The caller must not change it.
func (m *Model) DecoderPositionEmbedding() []float32 {
	if m.decoderPos == nil {
		return nil
	}
	return m.decoderPos.Data
}

// Class is the condition of these models: a class, or Config.NullClass.
type Class int32

// Classes returns classes as conditions.
func Classes(y ...int32) []seam.Condition {
	list := make([]seam.Condition, len(y))
	for i, class := range y {
		list[i] = Class(class)
	}
	return list
}

// Forward returns the prediction for each sample, [samples, Cout*S*S], in g's memory: C channels of
// noise, followed, if the model learned the variance, by as many of its mixing weights before
// scaling.
func (m *Model) Forward(g *tensor.Graph, r seam.Reuse, b *seam.Batch) *tensor.Tensor {
	return seam.Forward(g, m, r, b)
}

// Embed returns the tokens of the batch before the first block [samples*N, D], patches mapped to
// width D plus their position embedding, with the conditioning [samples, D] on timestep and class,
// which has passed SiLU. They are valid until g is Reset.
func (m *Model) Embed(g *tensor.Graph, b *seam.Batch) *seam.Tokens {
	classes := g.Ints(len(b.Cond))
	for i, c := range b.Cond {
		classes[i] = int32(c.(Class))
	}
	c := g.SiLU(g.Add(m.timestep.Forward(g, m.times(g, b.T)), g.Gather(m.class, classes)))
	patches := g.Patchify(b.X, m.InChannels, m.InputSize, m.InputSize, m.PatchSize)
	t := seam.NewTokens(g)
	t.X, t.C = g.AddCyclic(g.Linear(patches, m.patchEmbed), m.posEmbed), c
	t.Rows, t.Pos = passOf(g).layout.Of(b.X.Rows, m.Tokens())
	return t
}

// Block implements seam.Model: the long skip and the decoder's position embedding of an MDT come
// before the block.
func (m *Model) Block(g *tensor.Graph, r seam.Reuse, i int, x *seam.Tokens) *seam.Tokens {
	x = m.enter(g, i, x)
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

// run runs block i itself.
func (m *Model) run(g *tensor.Graph, r seam.Reuse, i int, x *seam.Tokens) *seam.Tokens {
	sites := r.Sites()
	if sites.Within() == 0 {
		if !sites.Has(seam.Block) {
			return m.Blocks[i].Forward(g, seam.Always, i, x)
		}
		return m.pass(g, r, seam.Always, i, x)
	}
	if !sites.Has(seam.Block) {
		return m.Blocks[i].Forward(g, r, i, x)
	}
	return m.pass(g, r, r, i, x)
}

// pass passes block i through r, with inside for the sites within it.
func (m *Model) pass(g *tensor.Graph, r, inside seam.Reuse, i int, x *seam.Tokens) *seam.Tokens {
	call := &passOf(g).block
	call.b, call.r, call.i = m.Blocks[i], inside, i
	return r.Apply(seam.Site{Block: i, Part: seam.Block}, x, call.f)
}

// Head is the last layer (FinalLayer): it maps the tokens after the last block, all N of each
// sample, to the prediction.
func (m *Model) Head(g *tensor.Graph, x *seam.Tokens) *tensor.Tensor {
	shiftScale := g.Linear(x.C, m.finalAdaLN)
	d := m.Hidden
	z := g.LayerNormModulate(x.X, g.Columns(shiftScale, 0, d), g.Columns(shiftScale, d, 2*d), x.Rows, normEps)
	patches := g.Linear(z, m.final) // [samples*N, p*p*Cout]
	return m.predicted(g, g.Unpatchify(patches, m.lastChannels(), m.InputSize, m.InputSize, m.PatchSize))
}

// Shape implements seam.Model.
func (m *Model) Shape() *seam.Shape { return &m.shape }

func (m *Model) newShape() seam.Shape {
	side := m.InputSize / m.PatchSize
	s := seam.Shape{
		Fingerprint: m.Fingerprint,
		Blocks:      m.Depth,
		Tokens:      m.Tokens(),
		GridRows:    side,
		GridCols:    side,
		Width:       m.Hidden,
		MLPHidden:   m.MLPHidden,
		Heads:       m.Heads,
		Channels:    m.InChannels,
		OutChannels: m.OutChannels(),
		LatentRows:  m.InputSize,
		LatentCols:  m.InputSize,
	}
	if m.isMDT() {
		s.Added = make([][]float32, m.Depth)
		s.Added[m.encoder()] = m.decoderPos.Data
		s.Joins = make([]bool, m.Depth)
		for i := range s.Joins {
			s.Joins[i] = m.HasSkip(i)
		}
	}
	return s
}

// CheckCondition implements seam.Model.
func (m *Model) CheckCondition(c seam.Condition) error {
	if class, ok := c.(Class); !ok || class < 0 || int(class) >= m.NumClasses {
		return fmt.Errorf("a class from 0 to %d", m.NumClasses-1)
	}
	return nil
}

// NullCondition implements seam.Model.
func (m *Model) NullCondition() seam.Condition {
	if m.NoNullClass {
		return nil
	}
	return Class(m.NullClass())
}

// PassFLOPs implements seam.Model.
func (m *Model) PassFLOPs(samples int) int64 { return m.FLOPs(samples, m.Tokens()) }

// ActivationBytes implements seam.Model: the tokens, and at the widest point of a block its input
// after layer norm, queries, keys and values, the branch's hidden layer and its result.
func (m *Model) ActivationBytes(samples int) int64 {
	rows := int64(samples) * int64(m.Tokens())
	columns := int64(4*m.Hidden) + max(int64(3*m.Hidden), int64(m.MLPHidden))
	if m.Arch == ArchMDTv2 {
		columns += int64(m.Hidden) * int64(2+1+m.inBlocks())
	}
	latents := int64(m.InChannels+m.OutChannels()) * int64(m.InputSize) * int64(m.InputSize)
	return 4 * (rows*columns + int64(samples)*(2*latents+int64(8*m.Hidden)))
}

// CheckBatch reports an input that does not fit the model.
func (m *Model) CheckBatch(b *seam.Batch) error {
	want := m.InChannels * m.InputSize * m.InputSize
	switch {
	case b.X.Cols != want:
		return fmt.Errorf("latents have %d elements a sample, want %d (%d x %d x %d)", b.X.Cols, want, m.InChannels, m.InputSize, m.InputSize)
	case len(b.T) != b.X.Rows || len(b.Cond) != b.X.Rows:
		return fmt.Errorf("%d latents with %d timesteps and %d classes", b.X.Rows, len(b.T), len(b.Cond))
	}
	for _, c := range b.Cond {
		if y, ok := c.(Class); !ok || y < 0 || int(y) >= m.class.Rows {
			return fmt.Errorf("class %v is out of range: this model has classes 0..%d and the null class %d", c, m.NumClasses-1, m.NullClass())
		}
	}
	return nil
}

// weights lists the linear maps.
func (m *Model) weights() []*tensor.Weight {
	list := []*tensor.Weight{m.patchEmbed, m.timestep.FC1, m.timestep.FC2, m.finalAdaLN, m.final}
	for _, b := range m.allBlocks() {
		list = append(list, b.AdaLN, b.Attn.QKV, b.Attn.Proj, b.MLP.FC1, b.MLP.FC2)
		if b.Skip != nil {
			list = append(list, b.Skip)
		}
	}
	return list
}

// allBlocks lists the blocks, the side-interpolater's included.
func (m *Model) allBlocks() []*Block {
	if m.Side == nil {
		return m.Blocks
	}
	return append(slices.Clip(m.Blocks), m.Side)
}

// tables lists the matrices that are used as they stand.
func (m *Model) tables() []*tensor.Tensor {
	list := []*tensor.Tensor{m.posEmbed, m.class}
	for _, t := range []*tensor.Tensor{m.decoderPos, m.MaskToken} {
		if t != nil {
			list = append(list, t)
		}
	}
	for _, b := range m.allBlocks() {
		if b.Attn.Bias != nil {
			list = append(list, b.Attn.Bias.Table)
		}
	}
	return list
}

// BlockWeights lists the linear maps of all blocks that NewAs narrows: attention's and the MLPs'.
func (m *Model) BlockWeights() []*tensor.Weight {
	var list []*tensor.Weight
	for _, b := range m.allBlocks() {
		list = append(list, b.Attn.QKV, b.Attn.Proj, b.MLP.FC1, b.MLP.FC2)
	}
	return list
}

// Repack makes a trainable model see its parameters' values after they changed.
func (m *Model) Repack() { tensor.RepackAll(m.weights()) }

// Bytes returns the memory that the weights take.
func (m *Model) Bytes() int64 {
	var total int64
	for _, t := range m.tables() {
		total += 4 * int64(len(t.Data))
	}
	for _, w := range m.weights() {
		total += w.Bytes()
	}
	return total
}
