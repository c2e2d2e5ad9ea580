package dit

import (
	"fmt"

	"github.com/tokencache/tokencache/tensor"
)

// Part says what of a block a Site is.
type Part int

const (
	Whole     Part = iota // the block
	Attention             // its attention branch, before the gate
	MLP                   // its MLP branch, before the gate
	Body                  // both branches: what is left of a block with a long skip once that has joined
)

var partNames = [...]string{Whole: "whole", Attention: "attention", MLP: "mlp", Body: "body"}

func (p Part) String() string {
	if p < 0 || int(p) >= len(partNames) {
		return fmt.Sprintf("Part(%d)", int(p))
	}
	return partNames[p]
}

// Site is a place where reuse can happen: block number Block, counted from 0 in the order of execution, and a part of it.
type Site struct {
	Block int
	Part  Part
}

func (s Site) String() string { return fmt.Sprintf("block %d, %s", s.Block, s.Part) }

// Reuse decides at every Site what is computed and what is taken from before, like a middleware around the block or branch f.
//
// At a Whole site f is the block: it maps tokens to their values after the block. At a branch site f maps tokens to the
// branch's output before its gate; the model applies the gate and adds the result, so that a cached output is gated anew at every
// step. Apply may call f with all tokens, with some of them gathered into new Tokens, or not at all; what it
// returns has a row for every row of x.
//
// A block that begins by joining its tokens with those of a long skip (MDTv2) has a Body site within its Whole one, and a block without one has
// not. At Whole, f joins the tokens that it is given, which carry their Skip; at Body, tokens are joined already, all that Whole let through. As
// at Whole, f maps tokens to their values after the block. A Reuse that has no use for the difference returns f(x) at Body.
//
// f may overwrite the tokens that it is given: Apply copies what it needs of x beforehand.
type Reuse interface {
	Apply(at Site, x *Tokens, f func(*Tokens) *Tokens) *Tokens
}

// WholeBlocks is implemented by a Reuse that may have nothing to do within blocks. Where WholeBlocks returns true it is called around each block alone, in which the model then runs fused operations as with
// Always.
type WholeBlocks interface{ WholeBlocks() bool }

type always struct{}

func (always) Apply(_ Site, x *Tokens, f func(*Tokens) *Tokens) *Tokens { return f(x) }

// Always is the Reuse that computes everything. Models recognise it and run fused operations, which give the same bits.
var Always Reuse = always{}

// Tokens is a batch of tokens, ragged: the rows of all samples one after another.
type Tokens struct {
	X    *tensor.Tensor // [rows, D]
	Rows *tensor.Rows   // the rows of each sample
	Pos  []int32        // each row's position in its sample's grid, in reading order
	Keys *KeyStore      // nil, or the keys and values that attention adds its own to
	Skip *tensor.Tensor // nil, or what a long skip brings the block of each row, from this same pass: [rows, D]
	From *Tokens        // nil, or the tokens whose keys and values attention computes and uses, where they are not these

	// Given, if not nil, receives what attention gives each token of each head, summed over all queries: [samples, heads*N].
	Given *tensor.Tensor

	// Modulated, at a branch site, returns the branch's input: these tokens' layer norm, scaled and shifted under the conditioning, [rows, D]. It is
	// nil elsewhere, and in tokens that were made of these.
	Modulated func() *tensor.Tensor
}

// With returns tokens that differ from t in their values.
func (t *Tokens) With(x *tensor.Tensor) *Tokens {
	return &Tokens{X: x, Rows: t.Rows, Pos: t.Pos, Keys: t.Keys, Skip: t.Skip, From: t.From}
}

// update returns t with the values x, which in inference are t's own, changed in place.
func (t *Tokens) update(x *tensor.Tensor) *Tokens {
	if x == t.X {
		return t
	}
	return t.With(x)
}

// Gather returns the tokens in the rows that index names, in ascending order, as new Tokens in g's memory.
func (t *Tokens) Gather(g *tensor.Graph, index []int32) *Tokens {
	counts := g.Ints(t.Rows.Samples())
	clear(counts)
	pos := g.Ints(len(index))
	for i, row := range index {
		counts[t.Rows.Sample[row]]++
		pos[i] = t.Pos[row]
	}
	some := &Tokens{X: g.Gather(t.X, index), Rows: g.Rows(counts), Pos: pos, Keys: t.Keys}
	if t.Skip != nil {
		some.Skip = g.Gather(t.Skip, index)
	}
	return some
}

// Range returns the tokens in rows from up to to, whose values share t's memory: what changes them in place changes t.
func (t *Tokens) Range(g *tensor.Graph, from, to int) *Tokens {
	counts := g.Ints(t.Rows.Samples())
	for s := range counts {
		counts[s] = int32(max(0, min(to, t.Rows.Start[s+1])-max(from, t.Rows.Start[s])))
	}
	some := &Tokens{X: g.RowRange(t.X, from, to), Rows: g.Rows(counts), Pos: t.Pos[from:to], Keys: t.Keys}
	if t.Skip != nil {
		some.Skip = g.RowRange(t.Skip, from, to)
	}
	return some
}

// KeyStore holds, for each block, the keys and values of every position of every sample. Attention writes the rows it
// computes into it and attends over all of it, so that pruned tokens go on lending theirs.
type KeyStore struct {
	Positions int              // of a sample's grid
	KV        []*tensor.Tensor // for each block, [samples*Positions, 2D]: keys, then values
	all       *tensor.Rows
	pos       []int32 // of each row of all
}

// NewKeyStore returns a store of zeros for a batch; the first step must compute every token.
func NewKeyStore(blocks, samples, positions, width int) *KeyStore {
	s := &KeyStore{Positions: positions, all: tensor.Uniform(samples, positions)}
	s.pos = wholeGrids(samples, positions)
	for range blocks {
		s.KV = append(s.KV, tensor.FromSlice(make([]float32, samples*positions*2*width), samples*positions, 2*width))
	}
	return s
}

// KeyStoreBytes returns the memory of a KeyStore.
func KeyStoreBytes(blocks, samples, positions, width int) int64 {
	return int64(blocks) * int64(samples) * int64(positions) * 2 * int64(width) * 4
}

// Samples returns the size of the batch that the store is for.
func (s *KeyStore) Samples() int { return s.all.Samples() }

// update writes k and v, of the tokens t, and returns the keys and values of all positions.
func (s *KeyStore) update(g *tensor.Graph, block int, t *Tokens, kv *tensor.Tensor) (k, v *tensor.Tensor) {
	index := g.Ints(len(t.Pos))
	for i, p := range t.Pos {
		index[i] = t.Rows.Sample[i]*int32(s.Positions) + p
	}
	all := s.KV[block]
	g.Scatter(all, index, kv)
	d := all.Cols / 2
	return g.Columns(all, 0, d), g.Columns(all, d, 2*d)
}
