package dit

import (
	"fmt"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

const posEmbedName = "pos_embed"

// Tensors lists the weights by their official names, with their shapes.
func (c Config) Tensors() []checkpoint.Want {
	d, p := c.Hidden, c.PatchSize
	var list []checkpoint.Want
	add := func(name string, shape ...int) { list = append(list, checkpoint.Want{Name: name, Shape: shape}) }
	linear := func(name string, out, in int) {
		add(name+".weight", out, in)
		add(name+".bias", out)
	}
	list = append(list, checkpoint.Want{Name: posEmbedName, Shape: []int{1, c.Tokens(), d}, Optional: true})
	add("x_embedder.proj.weight", d, c.InChannels, p, p)
	add("x_embedder.proj.bias", d)
	linear("t_embedder.mlp.0", d, nn.TimestepWidth)
	linear("t_embedder.mlp.2", d, d)
	add("y_embedder.embedding_table.weight", c.NumClasses+1, d)
	for i := range c.Depth {
		b := fmt.Sprintf("blocks.%d.", i)
		linear(b+"attn.qkv", 3*d, d)
		linear(b+"attn.proj", d, d)
		linear(b+"mlp.fc1", c.MLPHidden, d)
		linear(b+"mlp.fc2", d, c.MLPHidden)
		linear(b+"adaLN_modulation.1", 6*d, d)
	}
	linear("final_layer.linear", p*p*c.OutChannels(), d)
	linear("final_layer.adaLN_modulation.1", 2*d, d)
	return list
}

// New reads a model of the given size from src, under the official names. Weights are packed one by one, so that no more than one of
// them is in memory twice. Without a position embedding in src the fixed one is computed.
func New(c Config, src nn.Source, havePosEmbed bool) (*Model, error) {
	return load(c, nn.NewLoader(src), havePosEmbed)
}

// NewTrainable is New for training: it also returns the parameters, everything but the fixed position embedding. When their values
// have changed, Repack makes the model see it.
func NewTrainable(c Config, src nn.Source, havePosEmbed bool) (*Model, []*tensor.Param, error) {
	l := nn.NewLoader(src)
	l.Train()
	m, err := load(c, l, havePosEmbed)
	return m, l.Params(), err
}

// NewFrozen is New for training something that works through the model: gradients go back through it, and its weights stay as they are.
func NewFrozen(c Config, src nn.Source, havePosEmbed bool) (*Model, error) {
	l := nn.NewLoader(src)
	l.Freeze()
	return load(c, l, havePosEmbed)
}

// LoadBlock reads one block of a model of configuration c, under names that begin with prefix.
func LoadBlock(l *nn.Loader, prefix string, c Config) *Block {
	d := c.Hidden
	return &Block{
		Attn:  nn.LoadAttention(l, prefix+"attn", d, c.Heads),
		MLP:   nn.LoadMLP(l, prefix+"mlp", d, c.MLPHidden),
		AdaLN: l.Linear(prefix+"adaLN_modulation.1", 6*d, d),
	}
}

func load(c Config, l *nn.Loader, havePosEmbed bool) (*Model, error) {
	if c.Arch != ArchDiT {
		return nil, fmt.Errorf("this version cannot run %s models", c.Arch)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d, p := c.Hidden, c.PatchSize
	m := &Model{
		Config:     c,
		patchEmbed: l.Linear("x_embedder.proj", d, c.InChannels*p*p),
		timestep:   nn.LoadTimestepEmbedder(l, "t_embedder", d, c.TimestepShift),
		class:      l.Table("y_embedder.embedding_table.weight", c.NumClasses+1, d),
		finalAdaLN: l.Linear("final_layer.adaLN_modulation.1", 2*d, d),
		final:      l.Linear("final_layer.linear", p*p*c.OutChannels(), d),
	}
	for i := range c.Depth {
		m.Blocks = append(m.Blocks, LoadBlock(l, fmt.Sprintf("blocks.%d.", i), c))
	}
	m.Fingerprint = l.Fingerprint()
	// The fixed embedding is no part of the fingerprint, as a file may leave it out.
	positions := positionEmbedding(d, c.InputSize/p)
	if havePosEmbed {
		positions = l.Vector(posEmbedName, len(positions))
	}
	m.posEmbed = tensor.FromSlice(positions, c.Tokens(), d)
	return m, l.Err()
}
