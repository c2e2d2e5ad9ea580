package dit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
)

// Diffusers keeps a copy of the timestep and class embedders in every block, with equal values, and
// queries, keys and values apart; it does not keep the position embedding.

// diffusersEmbedders are the tensors repeated in each block, official name and diffusers' below
// transformer_blocks.N.
var diffusersEmbedders = [][2]string{
	{"t_embedder.mlp.0.weight", "norm1.emb.timestep_embedder.linear_1.weight"},
	{"t_embedder.mlp.0.bias", "norm1.emb.timestep_embedder.linear_1.bias"},
	{"t_embedder.mlp.2.weight", "norm1.emb.timestep_embedder.linear_2.weight"},
	{"t_embedder.mlp.2.bias", "norm1.emb.timestep_embedder.linear_2.bias"},
	{"y_embedder.embedding_table.weight", "norm1.emb.class_embedder.embedding_table.weight"},
}

var diffusersInBlock = strings.NewReplacer(
	"attn.proj.", "attn1.to_out.0.",
	"mlp.fc1.", "ff.net.0.proj.",
	"mlp.fc2.", "ff.net.2.",
	"adaLN_modulation.1.", "norm1.linear.",
)

var diffusersOutside = strings.NewReplacer(
	"x_embedder.proj.", "pos_embed.proj.",
	"final_layer.adaLN_modulation.1.", "proj_out_1.",
	"final_layer.linear.", "proj_out_2.",
)

// diffusersNames returns diffusers' names of the tensors that the official one is made of.
func diffusersNames(name string) []string {
	for _, e := range diffusersEmbedders {
		if e[0] == name {
			return []string{"transformer_blocks.0." + e[1]}
		}
	}
	rest, ok := strings.CutPrefix(name, "blocks.")
	if !ok {
		return []string{diffusersOutside.Replace(name)}
	}
	number, rest, _ := strings.Cut(rest, ".")
	block := "transformer_blocks." + number + "."
	if suffix, ok := strings.CutPrefix(rest, "attn.qkv."); ok {
		return []string{block + "attn1.to_q." + suffix, block + "attn1.to_k." + suffix, block + "attn1.to_v." + suffix}
	}
	return []string{block + diffusersInBlock.Replace(rest)}
}

// diffusersTensors lists the weights by diffusers' names.
func (c Config) diffusersTensors() []checkpoint.Want {
	var list []checkpoint.Want
	for _, t := range c.Tensors() {
		if t.Name == posEmbedName {
			continue
		}
		if i := slices.IndexFunc(diffusersEmbedders, func(e [2]string) bool { return e[0] == t.Name }); i >= 0 {
			for block := range c.Depth {
				list = append(list, checkpoint.Want{
					Name: fmt.Sprintf("transformer_blocks.%d.%s",
						block, diffusersEmbedders[i][1]), Shape: t.Shape, Optional: block > 0,
				})
			}
			continue
		}
		parts := diffusersNames(t.Name)
		shape := slices.Clone(t.Shape)
		shape[0] /= len(parts)
		for _, name := range parts {
			list = append(list, checkpoint.Want{Name: name, Shape: shape})
		}
	}
	return list
}

// sameEmbedders reports embedders that differ between blocks: the model computes the conditioning
// once for all of them.
func (w *Weights) sameEmbedders() error {
	for _, e := range diffusersEmbedders {
		first, err := w.File.Float32("transformer_blocks.0." + e[1])
		if err != nil {
			return err
		}
		for block := 1; block < w.Depth; block++ {
			name := fmt.Sprintf("transformer_blocks.%d.%s", block, e[1])
			if _, ok := w.File.Lookup(name); !ok {
				continue
			}
			other, err := w.File.Float32(name)
			if err != nil {
				return err
			}
			if !slices.Equal(first, other) {
				return fmt.Errorf("tensor %s differs from block 0's: blocks with embedders of their own are not a DiT",
					name)
			}
		}
	}
	return nil
}
