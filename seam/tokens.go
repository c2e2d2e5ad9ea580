package seam

import "github.com/tokencache/tokencache/tensor"

// Tokens is a batch of tokens, ragged: the rows of all samples one after another.
type Tokens struct {
	X    *tensor.Tensor // [rows, D]
	Rows *tensor.Rows   // the rows of each sample
	Pos  []int32        // each row's position in its sample: in reading order, after those of a text
	C    *tensor.Tensor // [samples, D]: the conditioning of each sample, nil if there is none

	KV   *KVCache       // nil, or the keys and values that attention adds its own to
	Skip *tensor.Tensor // nil, or what a long skip brings the block, from this same pass: [rows, D]
	From *Tokens        // nil, or the tokens whose keys and values attention uses instead of these

	// Keys, if not nil, turns the keys and values of these tokens, [rows, 2D], keys first, into those
	// that attention uses. Gradients pass through it.
	Keys func(g *tensor.Graph, kv *tensor.Tensor) *tensor.Tensor

	// ColSums, if not nil, receives the attention that each token receives in each head, summed over
	// all queries: [samples, heads*N].
	ColSums *tensor.Tensor

	// Modulation is the branch's at a branch site, nil elsewhere.
	Modulation *Modulation

	// Parts, if not nil, are the sequences whose rows these are, in order, each with what only
	// attention needs of it: KV, From and ColSums. See Group.
	Parts []*Tokens
	// Owner is the sequence that is charged with the operations on these tokens: its number in the
	// Graph's ledger plus 1, or 0 for whoever is charged already.
	Owner int
}

// Modulation is how a branch's input is made, layer norm, then shift and scale, and the gate of its
// output, [samples, D] each. Shift and Scale are nil where Input is in their place.
type Modulation struct {
	Shift, Scale, Gate *tensor.Tensor
	Eps                float32

	// Input, if not nil, makes the branch's input in another way.
	Input func(g *tensor.Graph, x *Tokens) *tensor.Tensor
}

// of returns the modulation of the samples from one up to another.
func (m *Modulation) of(g *tensor.Graph, from, to int) *Modulation {
	own := NewModulation(g)
	own.Eps, own.Input = m.Eps, m.Input
	own.Gate = g.RowRange(m.Gate, from, to)
	if m.Input == nil {
		own.Shift, own.Scale = g.RowRange(m.Shift, from, to), g.RowRange(m.Scale, from, to)
	}
	return own
}

// ModulatedInput returns the branch's input at a branch site, [rows, D]: these tokens' layer norm,
// shifted and scaled under the conditioning, or what the model has in its place.
func (t *Tokens) ModulatedInput(g *tensor.Graph) *tensor.Tensor {
	m := t.Modulation
	if m.Input != nil {
		return m.Input(g, t)
	}
	return g.LayerNormModulate(t.X, m.Shift, m.Scale, t.Rows, m.Eps)
}

// Copy returns a copy of t that is valid until g is Reset.
func (t *Tokens) Copy(g *tensor.Graph) *Tokens {
	u := NewTokens(g)
	*u = *t
	return u
}

// With returns a copy of t with other values.
func (t *Tokens) With(x *tensor.Tensor) *Tokens {
	u := *t
	u.X, u.Modulation, u.ColSums = x, nil, nil
	return &u
}

// Gather returns the tokens in the rows that index names, in ascending order, as new Tokens in g's
// memory. Keys and values from elsewhere (From, Keys) are not carried over.
func (t *Tokens) Gather(g *tensor.Graph, index []int32) *Tokens {
	counts := g.Ints(t.Rows.Samples())
	clear(counts)
	pos := g.Ints(len(index))
	for i, row := range index {
		counts[t.Rows.Sample[row]]++
		pos[i] = t.Pos[row]
	}
	some := *t
	some.X, some.Rows, some.Pos = g.Gather(t.X, index), g.Rows(counts), pos
	some.From, some.Keys, some.ColSums, some.Modulation = nil, nil, nil, nil
	if t.Skip != nil {
		some.Skip = g.Gather(t.Skip, index)
	}
	return &some
}

// Range returns the tokens in rows from up to to, whose values share t's memory: what changes them
// in place changes t. Keys and values from elsewhere (From, Keys) are not carried over.
func (t *Tokens) Range(g *tensor.Graph, from, to int) *Tokens {
	counts := g.Ints(t.Rows.Samples())
	for s := range counts {
		counts[s] = int32(max(0, min(to, t.Rows.Start[s+1])-max(from, t.Rows.Start[s])))
	}
	some := *t
	some.X, some.Rows, some.Pos = g.RowRange(t.X, from, to), g.Rows(counts), t.Pos[from:to]
	some.From, some.Keys, some.ColSums, some.Modulation = nil, nil, nil, nil
	if t.Skip != nil {
		some.Skip = g.RowRange(t.Skip, from, to)
	}
	return &some
}

// ChargeRows charges the operations that follow to each sequence by its number of rows.
func (t *Tokens) ChargeRows(g *tensor.Graph) { t.charge(g, (*tensor.Rows).Len) }

// ChargeParts charges the operations that follow to each sequence by its number of rows of
// some kind, which count gives for each of Parts.
func (t *Tokens) ChargeParts(g *tensor.Graph, count []int32) {
	if t.Parts == nil {
		t.ChargeRows(g)
		return
	}
	g.ClearCharge(0)
	for i, p := range t.Parts {
		g.Charge(p.Owner-1, int(count[i]))
	}
}

// ChargeSamples charges the operations that follow to each sequence by its number of samples.
func (t *Tokens) ChargeSamples(g *tensor.Graph) { t.charge(g, (*tensor.Rows).Samples) }

func (t *Tokens) charge(g *tensor.Graph, weight func(*tensor.Rows) int) {
	switch {
	case t.Parts != nil:
		g.ClearCharge(0)
		for _, p := range t.Parts {
			g.Charge(p.Owner-1, weight(p.Rows))
		}
	case t.Owner > 0:
		g.ClearCharge(t.Owner - 1)
	}
}
