package dit

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// MDT is a DiT whose attention has a relative position bias, whose position embeddings are learned,
// and whose last blocks, the decoder, get another position embedding. In MDTv2 the encoder is a U:
// the outputs of its first half join the inputs of its second half, last in, first out, and the
// patch embedding joins every block of the decoder. What makes it masked is its training: masked
// tokens are filled in, between encoder and decoder, by a block of its own, the side-interpolater,
// which sampling does not run. "Masked Diffusion Transformer is a Strong Image Synthesizer", arXiv
// 2303.14389.

const (
	decoderPosEmbedName = "decoder_pos_embed"
	maskTokenName       = "mask_token"
	sideBlockName       = "sideblocks.0"
	biasTableName       = "attn.rel_pos_bias.relative_position_bias_table"
	biasIndexName       = "attn.rel_pos_bias.relative_position_index" // a buffer that follows from the table's size; files may have it
)

// isMDT reports whether the model is an MDT of either version.
func (c Config) isMDT() bool { return c.Arch == ArchMDTv1 || c.Arch == ArchMDTv2 }

// encoder returns the number of blocks before the decoder.
func (c Config) encoder() int { return c.Depth - c.DecodeLayer }

// inBlocks returns how many blocks have their outputs kept for a long skip.
func (c Config) inBlocks() int {
	if c.Arch != ArchMDTv2 {
		return 0
	}
	return c.encoder() / 2
}

// HasSkip reports whether block i, in order of execution, joins its tokens with those of a long
// skip.
func (c Config) HasSkip(i int) bool { return c.Arch == ArchMDTv2 && i >= c.inBlocks() }

// BlockName returns the official name of block i, in order of execution.
func (c Config) BlockName(i int) string {
	if c.Arch != ArchMDTv2 {
		return fmt.Sprintf("blocks.%d", i)
	}
	switch half := c.inBlocks(); {
	case i < half:
		return fmt.Sprintf("en_inblocks.%d", i)
	case i < 2*half:
		return fmt.Sprintf("en_outblocks.%d", i-half)
	default:
		return fmt.Sprintf("de_blocks.%d", i-2*half)
	}
}

// validateDecoder reports a decoder that does not fit the model.
func (c Config) validateDecoder() error {
	switch {
	case !c.isMDT() && c.DecodeLayer != 0:
		return fmt.Errorf("decode_layer is %d, but a DiT has no decoder", c.DecodeLayer)
	case c.Arch == ArchMDTv1 && (c.DecodeLayer < 1 || c.DecodeLayer > c.Depth):
		return fmt.Errorf("decode_layer is %d, want 1 to the depth, %d", c.DecodeLayer, c.Depth)
	case c.Arch == ArchMDTv2 && (c.DecodeLayer < 1 || c.encoder() < 2 || c.encoder()%2 != 0):
		return fmt.Errorf("depth %d with decode_layer %d leaves %d blocks to the encoder: MDTv2 has as many in-blocks as out-blocks, at least one of each, and a decoder",
			c.Depth, c.DecodeLayer, c.encoder())
	}
	return nil
}

// sideTensors lists the weights that masked training alone uses.
func (c Config) sideTensors() []checkpoint.Want {
	return append([]checkpoint.Want{{Name: maskTokenName, Shape: []int{1, 1, c.Hidden}}}, c.blockTensors(sideBlockName, false)...)
}

// loadMDT reads what an MDT has besides a DiT's weights. For sampling the side-interpolater's
// weights count for the fingerprint alone.
func (m *Model) loadMDT(l *nn.Loader, havePosEmbed bool) {
	d, n := m.Hidden, m.Tokens()
	if havePosEmbed {
		m.posEmbed = l.Table(posEmbedName, n, d)
		m.decoderPos = l.Table(decoderPosEmbedName, n, d)
	} else {
		m.posEmbed = l.NewTable(posEmbedName, positionEmbedding(d, m.InputSize/m.PatchSize), n, d)
		m.decoderPos = l.NewTable(decoderPosEmbedName, positionEmbedding(d, m.InputSize/m.PatchSize), n, d)
	}
	if !l.Training() {
		for _, t := range m.sideTensors() {
			l.Skip(t.Name, elements(t.Shape))
		}
		return
	}
	m.MaskToken = l.Table(maskTokenName, 1, d)
	m.Side = LoadBlock(l, sideBlockName+".", m.Config)
}

// enter prepares an MDT's tokens for block i: it keeps what a later block will be joined with,
// gives the block its own long skip, and adds the decoder's position embedding before the decoder.
// While a tape records, x stays as it is.
func (m *Model) enter(g *tensor.Graph, i int, x *seam.Tokens) *seam.Tokens {
	if m.decoderPos == nil {
		return x
	}
	if g.Training() {
		x = x.Copy(g)
	}
	m.giveSkip(g, i, x)
	if i == m.encoder() {
		if g.Training() {
			x.X = g.Copy(x.X)
		}
		g.AddCyclic(x.X, m.decoderPos)
	}
	return x
}

// giveSkip keeps what a later block's long skip brings, and gives block i its own. The decoder's
// skips are the first that was kept.
func (m *Model) giveSkip(g *tensor.Graph, i int, x *seam.Tokens) {
	half := m.inBlocks()
	if half == 0 {
		return
	}
	p := passOf(g)
	if i <= half {
		if i == 0 {
			p.skips = p.skips[:0]
		}
		p.skips = append(p.skips, m.keep(g, x.X)) // the patch embedding, then the output of block i-1
	}
	switch last := len(p.skips) - 1; {
	case i >= m.encoder():
		x.Skip = p.skips[0]
	case i >= half:
		x.Skip, p.skips = p.skips[last], p.skips[:last]
	}
}

// keep returns the values of x, which in inference the blocks that follow overwrite.
func (m *Model) keep(g *tensor.Graph, x *tensor.Tensor) *tensor.Tensor {
	if g.Training() {
		return x
	}
	return g.Copy(x)
}

// join returns the tokens after the block's linear map of them and their long skip, side by side.
func (b *Block) join(g *tensor.Graph, x *seam.Tokens) *seam.Tokens {
	y := x.Copy(g)
	y.X = g.LinearInto(x.X, g.Concat(x.X, x.Skip), b.Skip)
	y.Skip, y.From = nil, b.joinFrom(g, x.From)
	for i, p := range x.Parts {
		if p.From == nil {
			continue
		}
		if &y.Parts[0] == &x.Parts[0] {
			y.Parts = slices.Clone(x.Parts)
		}
		p.ChargeRows(g)
		y.Parts[i] = p.Copy(g)
		y.Parts[i].From = b.joinFrom(g, p.From)
	}
	x.ChargeRows(g)
	return y
}

// joinFrom is join of the tokens whose keys and values others use.
func (b *Block) joinFrom(g *tensor.Graph, from *seam.Tokens) *seam.Tokens {
	if from == nil {
		return nil
	}
	y := from.Copy(g)
	y.X = g.Linear(g.Concat(from.X, from.Skip), b.Skip)
	return y
}
