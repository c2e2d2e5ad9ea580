package dit

import (
	"fmt"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

const posEmbedName = "pos_embed"

// tensors lists the weights by their official names.
func (c Config) tensors() []checkpoint.Want {
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
// them is in memory twice.
func New(c Config, src nn.Source, havePosEmbed bool) (*Model, error) {
	if c.Arch != ArchDiT {
		return nil, fmt.Errorf("this version cannot run %s models", c.Arch)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d, p := c.Hidden, c.PatchSize
	l := nn.NewLoader(src)
	m := &Model{
		Config:     c,
		patchEmbed: l.Linear("x_embedder.proj", d, c.InChannels*p*p),
		timestep:   nn.LoadTimestepEmbedder(l, "t_embedder", d),
		class:      l.Table("y_embedder.embedding_table.weight", c.NumClasses+1, d),
		finalAdaLN: l.Linear("final_layer.adaLN_modulation.1", 2*d, d),
		final:      l.Linear("final_layer.linear", p*p*c.OutChannels(), d),
	}
	if havePosEmbed {
		m.posEmbed = l.Table(posEmbedName, c.Tokens(), d)
	} else {
		m.posEmbed = tensor.FromSlice(positionEmbedding(d, c.InputSize/p), c.Tokens(), d)
	}
	for i := range c.Depth {
		b := fmt.Sprintf("blocks.%d.", i)
		m.Blocks = append(m.Blocks, &Block{
			Attn:  nn.LoadAttention(l, b+"attn", d, c.Heads),
			MLP:   nn.LoadMLP(l, b+"mlp", d, c.MLPHidden),
			AdaLN: l.Linear(b+"adaLN_modulation.1", 6*d, d),
		})
	}
	return m, l.Err()
}
