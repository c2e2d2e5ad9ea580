package minit2i

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Prompt is a text that images are conditioned on: the condition of these models. It does not
// change.
type Prompt struct {
	Text string // for people to read; the model does not look at it

	model  *Model
	vector *tensor.Tensor // [L, text width], or nil where ids are
	ids    []int32        // [L], of the model's own embedding
	real   []bool         // [L]: false for padding, in whose place the mask token stands
	tokens *tensor.Tensor // [L, H]: after the text's own blocks; nil until prepared
}

// Prompt prepares a text for this model: its way up to the first joint block, which does not depend
// on the image. Text is what the text encoder made of it, [length, TextWidth], for up to TextTokens
// tokens; what is missing counts as padding. Real, if not nil, says which of the tokens are no
// padding.
func (m *Model) Prompt(g *tensor.Graph, text *tensor.Tensor, real []bool) (*Prompt, error) {
	p, err := m.RawPrompt(text, real)
	if err != nil {
		return nil, err
	}
	return p, m.prepare(g, p)
}

// RawPrompt is Prompt without preparing it, for training, where its blocks change.
func (m *Model) RawPrompt(text *tensor.Tensor, real []bool) (*Prompt, error) {
	if text.Cols != m.TextWidth || text.Rows > m.TextTokens {
		return nil, fmt.Errorf("an encoded text of %d tokens of width %d: want up to %d tokens of width %d, as the model's text encoder has",
			text.Rows, text.Cols, m.TextTokens, m.TextWidth)
	}
	if real != nil && len(real) != text.Rows {
		return nil, fmt.Errorf("a mask of %d tokens for a text of %d", len(real), text.Rows)
	}
	p := &Prompt{
		model:  m,
		vector: tensor.FromSlice(make([]float32, m.TextTokens*m.TextWidth), m.TextTokens, m.TextWidth),
		real:   make([]bool, m.TextTokens),
	}
	for i := range text.Rows {
		copy(p.vector.Row(i), text.Row(i))
		p.real[i] = real == nil || real[i]
	}
	return p, nil
}

// IDPrompt prepares the token ids of a text for a model with its own embedding of them; ids that
// are missing count as padding.
func (m *Model) IDPrompt(g *tensor.Graph, ids []int32) (*Prompt, error) {
	p, err := m.RawIDPrompt(ids)
	if err != nil {
		return nil, err
	}
	return p, m.prepare(g, p)
}

// RawIDPrompt is IDPrompt without preparing it, for training.
func (m *Model) RawIDPrompt(ids []int32) (*Prompt, error) {
	if m.table == nil {
		return nil, fmt.Errorf("the model has no embedding of token ids: want a text encoder's vectors")
	}
	if len(ids) > m.TextTokens {
		return nil, fmt.Errorf("%d token ids, want up to %d", len(ids), m.TextTokens)
	}
	p := &Prompt{model: m, ids: make([]int32, m.TextTokens), real: make([]bool, m.TextTokens)}
	for i, id := range ids {
		if id < 0 || int(id) >= m.Vocabulary {
			return nil, fmt.Errorf("token %d has id %d, want 0 to %d", i, id, m.Vocabulary-1)
		}
		p.ids[i], p.real[i] = id, true
	}
	return p, nil
}

// Adopt implements seam.Adopter: it prepares each prompt of another model of the same weights once.
func (m *Model) Adopt(list []seam.Condition) ([]seam.Condition, error) {
	foreign := func(c seam.Condition) (*Prompt, bool) {
		p, ok := c.(*Prompt)
		return p, ok && p != nil && p.model != m && p.model.Fingerprint == m.Fingerprint && p.model.Config == m.Config
	}
	if !slices.ContainsFunc(list, func(c seam.Condition) bool { _, ok := foreign(c); return ok }) {
		return list, nil
	}
	pool := tensor.NewPool(1)
	defer pool.Close()
	g, own, made := tensor.NewGraph(pool), slices.Clone(list), map[*Prompt]*Prompt{}
	for i, c := range list {
		p, ok := foreign(c)
		if !ok {
			continue
		}
		if made[p] == nil {
			again := *p
			again.model, again.tokens = m, nil
			if err := m.prepare(g, &again); err != nil {
				return nil, err
			}
			made[p] = &again
		}
		own[i] = made[p]
	}
	return own, nil
}

// Digest identifies what the model is given of a prompt: ids or the encoded text, not its words.
func (p *Prompt) Digest() string {
	h := sha256.New()
	for i, real := range p.real {
		row := []byte{0} // padding
		switch {
		case real && p.vector == nil:
			row = binary.LittleEndian.AppendUint32([]byte{1}, uint32(p.ids[i]))
		case real:
			row = []byte{2}
			for _, v := range p.vector.Row(i) {
				row = binary.LittleEndian.AppendUint32(row, math.Float32bits(v))
			}
		}
		h.Write(row)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// newNull returns the prompt of guidance's unconditional half: mask tokens alone.
func (m *Model) newNull() *Prompt {
	pool := tensor.NewPool(1)
	defer pool.Close()
	p, err := m.Prompt(tensor.NewGraph(pool), tensor.FromSlice(nil, 0, m.TextWidth), nil)
	if err != nil {
		panic(err) // an empty text fits every model
	}
	return p
}

// prepare computes p.tokens.
func (m *Model) prepare(g *tensor.Graph, p *Prompt) error {
	mark := g.Mark()
	defer g.Release(mark)
	x := m.preambled(g, []*Prompt{p})
	if err := g.Err(); err != nil {
		return err
	}
	p.tokens = tensor.FromSlice(append([]float32(nil), x.Flat()...), x.Rows, x.Cols)
	return nil
}

// texts returns the prompts' tokens before the first joint block, [samples*L, H].
func (m *Model) texts(g *tensor.Graph, conditions []seam.Condition) *tensor.Tensor {
	prompts := make([]*Prompt, 0, 16)
	ready := !g.Training()
	for _, c := range conditions {
		p := c.(*Prompt)
		ready = ready && p.tokens != nil
		prompts = append(prompts, p)
	}
	if !ready {
		return m.preambled(g, prompts)
	}
	x := g.New(len(prompts)*m.TextTokens, m.Hidden)
	for s, p := range prompts {
		copy(x.Data[s*m.TextTokens*x.Stride:], p.tokens.Data)
	}
	return x
}

// preambled runs the text's own blocks.
func (m *Model) preambled(g *tensor.Graph, prompts []*Prompt) *tensor.Tensor {
	rows, pos := tensor.Uniform(len(prompts), m.TextTokens), seam.WholeGrids(len(prompts), m.TextTokens)
	x := g.Linear(m.context(g, prompts), m.textIn)
	for _, b := range m.preamble {
		x = b.forward(g, m, x, rows, pos)
	}
	return x
}

// context returns the text with the mask token in place of padding, [samples*L, text width].
func (m *Model) context(g *tensor.Graph, prompts []*Prompt) *tensor.Tensor {
	from := g.Ints(len(prompts) * m.TextTokens) // a row of the text, or -1, the mask token
	ids := g.Ints(len(from))
	clear(ids)
	vectors := g.New(len(from), m.TextWidth)
	clear(vectors.Data)
	for s, p := range prompts {
		for i := range m.TextTokens {
			row := s*m.TextTokens + i
			from[row] = -1
			if p.real[i] {
				from[row] = int32(row)
			}
			if p.vector != nil {
				copy(vectors.Row(row), p.vector.Row(i))
			} else {
				ids[row] = p.ids[i]
			}
		}
	}
	if m.table != nil {
		vectors = g.Gather(m.table, ids)
	}
	return g.Merge(vectors, m.maskToken, from)
}
