package dit

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// Model is a DiT or an MDT: it predicts, from noisy latents, the timestep and the class, the noise and, if it learned to, a mixing weight for
// the variance. A Model is not changed by running it and may serve several Graphs at once.
type Model struct {
	Config
	Fingerprint string // of the weights, whatever file they came in: see nn.Loader.Fingerprint

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
}

// PositionEmbedding returns the embedding, fixed in a DiT, of the tokens' places, [N, D]. The caller must not change it.
func (m *Model) PositionEmbedding() []float32 { return m.posEmbed.Data }

// DecoderPositionEmbedding returns what an MDT adds to the tokens before its decoder, [N, D], whatever a policy does with the blocks; nil in a DiT. The caller must not change it.
func (m *Model) DecoderPositionEmbedding() []float32 {
	if m.decoderPos == nil {
		return nil
	}
	return m.decoderPos.Data
}

// Batch is the input of a forward pass.
type Batch struct {
	X *tensor.Tensor // [samples, C*S*S]: latents, channel after channel
	T []float32      // [samples]: timesteps, 0 up to 999, fractions allowed
	Y []int32        // [samples]: classes; Config.NullClass is the null class

	// Unconditional says, for policies, which samples are the two halves of guidance: of each sample the one that has the same latents and timestep and the null class, or -1. It may be nil: nothing is known.
	Unconditional []int

	tokens Tokens           // the layout of the tokens, reused from pass to pass
	skips  []*tensor.Tensor // MDTv2: the patch embedding, then in-blocks' outputs whose out-block is still to come
}

// Forward returns the prediction for each sample, [samples, Cout*S*S], in g's memory: C channels of noise, followed, if the model
// learned the variance, by as many of its mixing weights before scaling.
func (m *Model) Forward(g *tensor.Graph, r Reuse, b *Batch) *tensor.Tensor {
	x, c := m.Embed(g, b)
	for i, block := range m.Blocks {
		x = m.enter(g, b, i, x)
		mark := g.Mark()
		y := m.block(g, r, i, block, x, c)
		switch {
		case g.Training():
			x = y // the memory of every step is kept for the way back
		case y.X != x.X:
			copy(x.X.Flat(), y.X.Flat())
		}
		g.Release(mark)
	}
	return m.Head(g, x, c)
}

// Head is the last layer: it maps the tokens after the last block, all N of each sample, with the conditioning c [samples, D] of Embed to the prediction.
func (m *Model) Head(g *tensor.Graph, x *Tokens, c *tensor.Tensor) *tensor.Tensor {
	shiftScale := g.Linear(c, m.finalAdaLN)
	d := m.Hidden
	z := g.LayerNormModulate(x.X, g.Columns(shiftScale, 0, d), g.Columns(shiftScale, d, 2*d), x.Rows, normEps)
	patches := g.Linear(z, m.final) // [samples*N, p*p*Cout]
	return g.Unpatchify(patches, m.OutChannels(), m.InputSize, m.InputSize, m.PatchSize)
}

func (m *Model) block(g *tensor.Graph, r Reuse, i int, block *Block, x *Tokens, c *tensor.Tensor) *Tokens {
	if r == Always {
		return block.Forward(g, r, i, x, c)
	}
	inside := r
	if w, ok := r.(WholeBlocks); ok && w.WholeBlocks() {
		inside = Always
	}
	return r.Apply(Site{i, Whole}, x, func(x *Tokens) *Tokens { return block.Forward(g, inside, i, x, c) })
}

// Embed returns what the blocks are given: the tokens of the batch [samples*N, D], patches mapped to width D plus their position embedding, and the
// conditioning [samples, D] on timestep and class, which has passed SiLU. The tokens are b's, until the next call.
func (m *Model) Embed(g *tensor.Graph, b *Batch) (x *Tokens, c *tensor.Tensor) {
	c = g.SiLU(g.Add(m.timestep.Forward(g, b.T), g.Gather(m.class, b.Y)))
	return m.embed(g, b), c
}

func (m *Model) embed(g *tensor.Graph, b *Batch) *Tokens {
	patches := g.Patchify(b.X, m.InChannels, m.InputSize, m.InputSize, m.PatchSize)
	t := &b.tokens
	t.Keys, t.Skip = nil, nil
	t.X = g.AddCyclic(g.Linear(patches, m.patchEmbed), m.posEmbed)
	samples, n := b.X.Rows, m.Tokens()
	if t.Rows == nil || t.Rows.Samples() != samples || len(t.Pos) != samples*n {
		t.Rows = tensor.Uniform(samples, n)
		t.Pos = wholeGrids(samples, n)
	}
	return t
}

// wholeGrids returns the positions of the rows of samples that have all n of them.
func wholeGrids(samples, n int) []int32 {
	pos := make([]int32, samples*n)
	for i := range pos {
		pos[i] = int32(i % n)
	}
	return pos
}

// CheckBatch reports an input that does not fit the model.
func (m *Model) CheckBatch(b *Batch) error {
	want := m.InChannels * m.InputSize * m.InputSize
	switch {
	case b.X.Cols != want:
		return fmt.Errorf("latents have %d elements a sample, want %d (%d x %d x %d)", b.X.Cols, want, m.InChannels, m.InputSize, m.InputSize)
	case len(b.T) != b.X.Rows || len(b.Y) != b.X.Rows:
		return fmt.Errorf("%d latents with %d timesteps and %d classes", b.X.Rows, len(b.T), len(b.Y))
	}
	for _, y := range b.Y {
		if y < 0 || int(y) >= m.class.Rows {
			return fmt.Errorf("class %d is out of range: this model has classes 0..%d and the null class %d", y, m.NumClasses-1, m.NullClass())
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

// Repack makes a trainable model see its parameters' values after they changed.
func (m *Model) Repack() {
	for _, w := range m.weights() {
		w.Repack()
	}
}

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
