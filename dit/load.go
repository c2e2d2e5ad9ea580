package dit

import (
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
	add(posEmbedName, 1, c.Tokens(), d)
	list[0].Optional = !c.isMDT()
	add("x_embedder.proj.weight", d, c.InChannels, p, p)
	add("x_embedder.proj.bias", d)
	linear("t_embedder.mlp.0", d, nn.TimestepWidth)
	linear("t_embedder.mlp.2", d, d)
	add("y_embedder.embedding_table.weight", c.labelRows(), d)
	for i := range c.Depth {
		list = append(list, c.blockTensors(c.BlockName(i), c.HasSkip(i))...)
	}
	linear("final_layer.linear", p*p*c.lastChannels(), d)
	linear("final_layer.adaLN_modulation.1", 2*d, d)
	if c.isMDT() {
		add(decoderPosEmbedName, 1, c.Tokens(), d)
		list = append(list, c.sideTensors()...)
	}
	return list
}

// blockTensors lists the weights of the block of this name.
func (c Config) blockTensors(name string, skip bool) []checkpoint.Want {
	d := c.Hidden
	var list []checkpoint.Want
	add := func(what string, shape ...int) {
		list = append(list, checkpoint.Want{Name: name + what, Shape: shape})
	}
	linear := func(what string, out, in int) {
		add(what+".weight", out, in)
		add(what+".bias", out)
	}
	linear(".attn.qkv", 3*d, d)
	linear(".attn.proj", d, d)
	linear(".mlp.fc1", c.MLPHidden, d)
	linear(".mlp.fc2", d, c.MLPHidden)
	linear(".adaLN_modulation.1", 6*d, d)
	if c.isMDT() {
		add("."+biasTableName, nn.RelativeDistances(c.InputSize/c.PatchSize), c.Heads)
	}
	if skip {
		linear(".skip_linear", d, 2*d)
	}
	return list
}

// labelRows returns the rows of the label table.
func (c Config) labelRows() int {
	if c.NoNullClass {
		return c.NumClasses
	}
	return c.NumClasses + 1
}

// New reads a model of the given size from src, under the official names. Weights are packed one by
// one, so that no more than one of them is in memory twice. Without a position embedding in src the
// fixed one is computed, which is what an MDT's learned ones begin as.
func New(c Config, src nn.Source, havePosEmbed bool) (*Model, error) {
	return NewAs(tensor.F32, c, src, havePosEmbed)
}

// NewAs is New with the linear maps of all tokens, in every block, in a number format. What the
// conditioning passes through, the patch embedding and the final layer stay float32, and so do the
// maps of long skips: they multiply the residual stream, whose few large columns would leave the
// others no steps.
func NewAs(d tensor.DType, c Config, src nn.Source, havePosEmbed bool) (*Model, error) {
	l := nn.NewLoader(src)
	l.SetDType(d)
	m, err := load(c, l, havePosEmbed)
	if err == nil {
		m.DType = d
	}
	return m, err
}

// NewTrainable is New for training: it also returns the parameters, everything but the fixed
// position embedding. When their values have changed, Repack makes the model see it.
func NewTrainable(c Config, src nn.Source, havePosEmbed bool) (*Model, []*tensor.Param, error) {
	l := nn.NewLoader(src)
	l.Train()
	m, err := load(c, l, havePosEmbed)
	return m, l.Params(), err
}

// NewFrozen is New for training something that works through the model: gradients go back through
// it, and its weights stay as they are.
func NewFrozen(c Config, src nn.Source, havePosEmbed bool) (*Model, error) {
	l := nn.NewLoader(src)
	l.Freeze()
	return load(c, l, havePosEmbed)
}

// LoadBlock reads one block of a model of configuration c, without a long skip, under names that
// begin with prefix.
func LoadBlock(l *nn.Loader, prefix string, c Config) *Block {
	d := c.Hidden
	b := &Block{
		Attn:  nn.LoadAttention(l, prefix+"attn", d, c.Heads),
		MLP:   nn.LoadMLP(l, prefix+"mlp", d, c.MLPHidden),
		AdaLN: l.Linear(prefix+"adaLN_modulation.1", 6*d, d),
	}
	if c.isMDT() {
		b.Attn.Bias = nn.LoadRelativeBias(l, prefix+biasTableName, c.InputSize/c.PatchSize, c.Heads)
	}
	return b
}

func load(c Config, l *nn.Loader, havePosEmbed bool) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d, p := c.Hidden, c.PatchSize
	m := &Model{
		Config:     c,
		patchEmbed: l.Linear("x_embedder.proj", d, c.InChannels*p*p),
		timestep:   nn.LoadTimestepEmbedder(l, "t_embedder", d, c.TimestepShift),
		class:      l.Table("y_embedder.embedding_table.weight", c.labelRows(), d),
		finalAdaLN: l.Linear("final_layer.adaLN_modulation.1", 2*d, d),
		final:      l.Linear("final_layer.linear", p*p*c.lastChannels(), d),
	}
	for i := range c.Depth {
		m.Blocks = append(m.Blocks, loadBlock(l, c, i))
	}
	if c.isMDT() {
		m.loadMDT(l, havePosEmbed)
		m.Fingerprint = l.Fingerprint()
		return m.loaded(l)
	}
	m.Fingerprint = l.Fingerprint()
	// The fixed embedding is no part of the fingerprint, as a file may leave it out.
	positions := positionEmbedding(d, c.InputSize/p)
	if havePosEmbed {
		positions = l.Vector(posEmbedName, len(positions))
	}
	m.posEmbed = tensor.FromSlice(positions, c.Tokens(), d)
	return m.loaded(l)
}

// loaded returns the model once all that it is made of has been read.
func (m *Model) loaded(l *nn.Loader) (*Model, error) {
	if err := l.Err(); err != nil {
		return nil, err
	}
	m.shape = m.newShape()
	return m, nil
}

// loadBlock reads block i, in order of execution.
func loadBlock(l *nn.Loader, c Config, i int) *Block {
	name := c.BlockName(i)
	b := LoadBlock(l, name+".", c)
	if c.HasSkip(i) {
		b.Skip = l.Linear(name+".skip_linear", c.Hidden, 2*c.Hidden)
	}
	return b
}
