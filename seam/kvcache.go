package seam

import "github.com/tokencache/tokencache/tensor"

// KVCache holds, for each block, the keys and values of every position of every sample. Attention
// writes the rows that it computes into it and attends to all of it, so that pruned tokens still
// lend theirs.
type KVCache struct {
	Positions int              // of a sample's grid
	KV        []*tensor.Tensor // for each block or for all, [samples*Positions, 2D]: keys, then values
	all       *tensor.Rows
	pos       []int32 // of each row of all
}

// NewKVCache returns a cache of zeros for a batch; the first step must compute every token. All
// blocks share a cache of one block, which whoever uses it fills anew before each.
func NewKVCache(blocks, samples, positions, width int) *KVCache {
	c := &KVCache{
		Positions: positions,
		all:       tensor.Uniform(samples, positions),
		pos:       WholeGrids(samples, positions),
	}
	for range blocks {
		rows := samples * positions
		c.KV = append(c.KV, tensor.FromSlice(make([]float32, rows*2*width), rows, 2*width))
	}
	return c
}

// KVCacheBytes returns the memory of a KVCache.
func KVCacheBytes(blocks, samples, positions, width int) int64 {
	return int64(blocks) * int64(samples) * int64(positions) * 2 * int64(width) * 4
}

// Samples returns the size of the batch that the cache is for.
func (c *KVCache) Samples() int { return c.all.Samples() }

// Rows returns the rows of each sample, all positions, and each row's position.
func (c *KVCache) Rows() (rows *tensor.Rows, pos []int32) { return c.all, c.pos }

// Of returns the keys and values of a block.
func (c *KVCache) Of(block int) *tensor.Tensor { return c.KV[block%len(c.KV)] }

// Update writes kv [rows, 2D], the keys and values of the tokens t, and returns the keys and values
// of all positions.
func (c *KVCache) Update(g *tensor.Graph, block int, t *Tokens, kv *tensor.Tensor) (k, v *tensor.Tensor) {
	index := g.Ints(len(t.Pos))
	for i, p := range t.Pos {
		index[i] = t.Rows.Sample[i]*int32(c.Positions) + p
	}
	all := c.Of(block)
	g.Scatter(all, index, kv)
	d := all.Cols / 2
	return g.Columns(all, 0, d), g.Columns(all, d, 2*d)
}

// WholeGrids returns the positions of the rows of samples that have all n of them.
func WholeGrids(samples, n int) []int32 {
	pos := make([]int32, samples*n)
	for i := range pos {
		pos[i] = int32(i % n)
	}
	return pos
}

// Layout keeps the rows of whole samples, and their positions, from pass to pass. The zero Layout
// is empty.
type Layout struct {
	rows *tensor.Rows
	pos  []int32
}

// Of returns the rows of samples that have all their tokens, and each row's position.
func (l *Layout) Of(samples, tokens int) (*tensor.Rows, []int32) {
	if l.rows == nil || l.rows.Samples() != samples || len(l.pos) != samples*tokens {
		l.rows, l.pos = tensor.Uniform(samples, tokens), WholeGrids(samples, tokens)
	}
	return l.rows, l.pos
}
