// Package seam is where cache policies meet models: a model passes its blocks and branches through
// a Reuse, which decides what of them is computed. Both sides know this package and neither knows
// the other, so a new policy changes no model and a new model no policy.
//
// It holds the types that cross the seam (Site, Tokens, KVCache, Batch, Shape), the small interface
// by which the engine runs any model, and Group, which runs sequences with different policies in
// one pass. It must not know a model, a policy or a sampler.
package seam

import (
	"fmt"

	"github.com/tokencache/tokencache/tensor"
)

// Part says what of a block a Site is.
type Part int

const (
	Block     Part = iota // the whole block
	Attention             // its attention branch, before the gate
	MLP                   // its MLP branch, before the gate
	Branches              // both branches: a block with a long skip (MDTv2) after the skip has joined
)

var partNames = [...]string{Block: "block", Attention: "attention", MLP: "mlp", Branches: "branches"}

func (p Part) String() string {
	if p < 0 || int(p) >= len(partNames) {
		return fmt.Sprintf("Part(%d)", int(p))
	}
	return partNames[p]
}

// Site is a place where reuse can happen: block number Block, counted from 0 in the order of
// execution, and a part of it.
type Site struct {
	Block int
	Part  Part
}

func (s Site) String() string { return fmt.Sprintf("block %d, %s", s.Block, s.Part) }

// Sites is a set of parts.
type Sites uint8

// SitesOf returns the set of the given parts.
func SitesOf(parts ...Part) Sites {
	var s Sites
	for _, p := range parts {
		s |= 1 << p
	}
	return s
}

// AllSites is the set of all parts.
const AllSites Sites = 1<<Block | 1<<Attention | 1<<MLP | 1<<Branches

// Has reports whether p is in the set.
func (s Sites) Has(p Part) bool { return s&(1<<p) != 0 }

// Within returns the set without whole blocks: where it is empty, a model runs the inside of a
// block with fused operations.
func (s Sites) Within() Sites { return s &^ SitesOf(Block) }

// Reuse decides at every Site what is computed and what is reused, like middleware around the block
// or branch f.
//
// At a Block site f is the block: it maps tokens to their values after the block. At a branch site
// f maps tokens to the branch's output before its gate; the model applies the gate and adds the
// result, so that a cached output is gated anew at every step. Apply calls f once, with all tokens
// or with some of them gathered into new Tokens, or not at all. What it returns has a row for every
// row of x.
//
// A block that begins by joining its tokens with those of a long skip has a Branches site within
// its Block site; other blocks have none. At Block, f joins the tokens that it is given, which
// carry their Skip; at Branches, tokens are joined already. At both, f maps tokens to their values
// after the block.
//
// f may overwrite the tokens that it is given, and at Block and Branches Apply may overwrite x:
// whoever needs a value later copies it.
type Reuse interface {
	// Sites are the parts that Apply is called for. A model does not call it elsewhere.
	Sites() Sites
	Apply(at Site, x *Tokens, f func(*Tokens) *Tokens) *Tokens
}

// Finisher is a Reuse that has a say in what a pass predicts. It is asked at the end of each pass
// of the model, before guidance.
type Finisher interface {
	Reuse
	// Finish is given the predictions of its samples, [samples, size], which it may change. It
	// reports whether they are rejected: then the model runs again from the same input.
	Finish(out *tensor.Tensor) (again bool)
}

// Finish asks r at the end of a pass, if it has a say.
func Finish(r Reuse, out *tensor.Tensor) (again bool) {
	f, ok := r.(Finisher)
	return ok && f.Finish(out)
}

type always struct{}

func (always) Sites() Sites                                             { return 0 }
func (always) Apply(_ Site, x *Tokens, f func(*Tokens) *Tokens) *Tokens { return f(x) }

// Always is the Reuse that computes everything.
var Always Reuse = always{}

// Condition is what an image is conditioned on: a class, a prompt's encoding. Only the model that
// it is for looks inside.
type Condition any

// Batch is the input of a forward pass.
type Batch struct {
	X    *tensor.Tensor // [samples, C*H*W]: latents, channel after channel
	T    []float32      // [samples]: timesteps, 0 for data up to 999, or 1000 of a flow, fractions allowed
	Cond []Condition    // [samples]

	// Unconditional[i] is the index of sample i's unconditional twin, or -1; nil if unknown. Only
	// policies read it.
	Unconditional []int
}

// Samples returns the size of the batch.
func (b *Batch) Samples() int { return b.X.Rows }

// Shape is what policies and the engine know of a model.
type Shape struct {
	Fingerprint string // of the weights
	Blocks      int
	Tokens      int // of a sample
	Text        int // how many of them, the first ones, are a text's: they are computed whenever any are
	GridRows    int // of the grid of the other tokens
	GridCols    int
	Width       int // of a token, D
	MLPHidden   int // of a block's MLP
	Heads       int
	Channels    int // of a sample's input
	OutChannels int // of its prediction: those of the input, then what else there is
	LatentRows  int // of a channel
	LatentCols  int
	// Cache is the number format in which policies keep what they forecast from, F32 or BF16. It is
	// the user's choice and no property of the model.
	Cache tensor.DType
	// Joins[i] tells whether block i begins by joining the tokens of a long skip; nil: none does.
	Joins []bool
	// Added[i], if not nil, is added to every sample's tokens before block i whatever a policy
	// does, [Tokens*Width]; nil: nothing is.
	Added [][]float32
}

// Image returns how many tokens of a sample are an image's: they stand after those of a text.
func (s *Shape) Image() int { return s.Tokens - s.Text }

// Latents returns how many values the latents of a sample have, all channels.
func (s *Shape) Latents() int { return s.Channels * s.LatentRows * s.LatentCols }

// JoinsSkip reports whether block i begins by joining the tokens of a long skip.
func (s *Shape) JoinsSkip(i int) bool { return i < len(s.Joins) && s.Joins[i] }

// HasSkips reports whether any block joins a long skip, so that blocks' outputs are used later.
func (s *Shape) HasSkips() bool {
	for i := range s.Joins {
		if s.Joins[i] {
			return true
		}
	}
	return false
}

// AddedBefore returns what is added to the tokens before block i, or nil.
func (s *Shape) AddedBefore(i int) []float32 {
	if i >= len(s.Added) {
		return nil
	}
	return s.Added[i]
}

// Model is what the engine and policies run. It is not changed by running it and may serve several
// Graphs at once.
type Model interface {
	Shape() *Shape
	// Embed returns the tokens before the first block, with the conditioning in C.
	Embed(g *tensor.Graph, b *Batch) *Tokens
	// Block runs block i with what belongs to it, passing it through r. In inference it frees what it
	// made and leaves the tokens where they were.
	Block(g *tensor.Graph, r Reuse, i int, x *Tokens) *Tokens
	// Head maps the tokens after the last block to the prediction for each sample.
	Head(g *tensor.Graph, x *Tokens) *tensor.Tensor

	// CheckCondition reports a condition that the model does not take, by an error that says which it
	// does. NullCondition is that of guidance's unconditional half, nil if the model has none.
	CheckCondition(c Condition) error
	NullCondition() Condition

	// PassFLOPs are those of an uncached pass, and ActivationBytes the memory that its Graph takes.
	PassFLOPs(samples int) int64
	ActivationBytes(samples int) int64
}

// Forward runs a whole pass and returns the prediction for each sample, in g's memory. It does not
// ask a Finisher: whoever runs a policy does, as it has to begin a rejected pass anew.
func Forward(g *tensor.Graph, m Model, r Reuse, b *Batch) *tensor.Tensor {
	x := m.Embed(g, b)
	for i := range m.Shape().Blocks {
		x = m.Block(g, r, i, x)
	}
	return m.Head(g, x)
}
