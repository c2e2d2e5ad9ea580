// Package t5 is the encoder of T5 1.1 and FLAN-T5 (Raffel et al., "Exploring the Limits of Transfer
// Learning with a Unified Text-to-Text Transformer", 2020), which turns the token ids of a prompt
// into the vectors that a text-to-image model is conditioned on.
//
// It knows ids, not text; those that a prompt has come of package unigram. Decoders, and what a
// model makes of the vectors, do not belong here.
package t5

import (
	"fmt"

	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// Names of tensors that are outside the blocks.
const (
	embedding = "shared.weight"
	biasTable = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
)

// Encoder is a T5 encoder in memory. It does not change and may be used by several Graphs.
type Encoder struct {
	Config
	Fingerprint string // of its weights

	embedding *tensor.Tensor // [vocabulary, width]
	bias      *tensor.Tensor // [buckets, heads]
	blocks    []block
	norm      *tensor.Tensor // [1, width]
}

type block struct {
	norm, mlpNorm    *tensor.Tensor // [1, width]
	q, k, v, o       *tensor.Weight
	gate, value, out *tensor.Weight // wi_0, wi_1, wo
}

// New reads an encoder from weights under their published names.
func New(c Config, src nn.Source) (*Encoder, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	l := nn.NewLoader(src)
	inner := c.Heads * c.HeadWidth
	e := &Encoder{
		Config:    c,
		embedding: l.Table(embedding, c.Vocabulary, c.Width),
		bias:      l.Table(biasTable, c.Buckets, c.Heads),
		norm:      l.Table("encoder.final_layer_norm.weight", 1, c.Width),
	}
	for i := range c.Blocks {
		p := fmt.Sprintf("encoder.block.%d.layer.", i)
		attention, mlp := p+"0.SelfAttention.", p+"1.DenseReluDense."
		e.blocks = append(e.blocks, block{
			norm:    l.Table(p+"0.layer_norm.weight", 1, c.Width),
			q:       l.LinearNoBias(attention+"q", inner, c.Width),
			k:       l.LinearNoBias(attention+"k", inner, c.Width),
			v:       l.LinearNoBias(attention+"v", inner, c.Width),
			o:       l.LinearNoBias(attention+"o", c.Width, inner),
			mlpNorm: l.Table(p+"1.layer_norm.weight", 1, c.Width),
			gate:    l.LinearNoBias(mlp+"wi_0", c.Hidden, c.Width),
			value:   l.LinearNoBias(mlp+"wi_1", c.Hidden, c.Width),
			out:     l.LinearNoBias(mlp+"wo", c.Width, c.Hidden),
		})
		if err := l.Err(); err != nil {
			return nil, err // not after allocating all blocks
		}
	}
	e.Fingerprint = l.Fingerprint()
	return e, nil
}

// Input is a batch of texts. Rows divides the ids among them; text s has those of places 0, 1, ...
type Input struct {
	IDs  []int32
	Rows *tensor.Rows

	// Real, if not nil, says which of the rows are attended to: those of padding are computed,
	// and seen by none.
	Real []bool
}

// Forward returns the vector of each id, [len(in.IDs), width]: last_hidden_state. Watch, if not
// nil, sees the output of every block. An id outside the vocabulary is an error.
func (e *Encoder) Forward(g *tensor.Graph, in Input, watch func(block int, x *tensor.Tensor)) (*tensor.Tensor, error) {
	x := g.New(len(in.IDs), e.Width)
	for i, id := range in.IDs {
		if id < 0 || int(id) >= e.Vocabulary {
			return nil, fmt.Errorf("token %d has id %d, want 0 to %d: the tokenizer is another model's", i, id, e.Vocabulary-1)
		}
		copy(x.Row(i), e.embedding.Row(int(id)))
	}
	run := e.attention(g, in)
	for i, b := range e.blocks {
		m := g.Mark()
		u := g.RMSNorm(x, b.norm, e.Eps)
		run.Q = g.Linear(u, b.q)
		run.K, run.V = g.Linear(u, b.k), g.Linear(u, b.v)
		if in.Real != nil {
			run.K, run.V = g.Gather(run.K, run.real), g.Gather(run.V, run.real)
		}
		g.AddInto(x, g.Linear(g.Attention(run.AttentionInput), b.o))
		u = g.RMSNorm(x, b.mlpNorm, e.Eps)
		hidden := g.Mul(g.LinearGELU(u, b.gate), g.Linear(u, b.value))
		g.AddInto(x, g.Linear(hidden, b.out))
		g.Release(m)
		if watch != nil {
			watch(i, x)
		}
	}
	return g.RMSNorm(x, e.norm, e.Eps), g.Err()
}

// attention is what all blocks' attention has in common.
type attention struct {
	tensor.AttentionInput
	real []int32 // rows that are keys, if not all are
}

// attention lays out queries, keys and the position bias, which all blocks share. Scores are not
// divided by the root of the heads' width.
func (e *Encoder) attention(g *tensor.Graph, in Input) attention {
	a := attention{AttentionInput: tensor.AttentionInput{Heads: e.Heads, Scale: 1, QRows: in.Rows, KRows: in.Rows}}
	longest := 0
	places := g.Ints(len(in.IDs))
	for i := range places {
		s := in.Rows.Sample[i]
		places[i] = int32(i - in.Rows.Start[s])
		longest = max(longest, int(places[i])+1)
	}
	a.QPlace, a.KPlace = places, places
	if in.Real != nil {
		counts := g.Ints(in.Rows.Samples())
		clear(counts)
		var keyPlaces []int32
		for i, real := range in.Real {
			if real {
				a.real = append(a.real, int32(i))
				keyPlaces = append(keyPlaces, places[i])
				counts[in.Rows.Sample[i]]++
			}
		}
		a.KPlace, a.KRows = keyPlaces, g.Rows(counts)
	}
	a.Bias = g.New(e.Heads, 2*longest-1)
	a.BiasOrigin = longest - 1
	for difference := 1 - longest; difference < longest; difference++ {
		row := e.bias.Row(e.bucket(-difference)) // of a query's place less a key's
		for h := range e.Heads {
			a.Bias.Row(h)[difference+a.BiasOrigin] = row[h]
		}
	}
	return a
}
