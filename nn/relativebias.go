package nn

import "github.com/tokencache/tokencache/tensor"

// RelativeBias is BEiT's relative position bias of attention over a square grid of tokens: a
// number, added to the scaled product of a query and a key, for each head, row distance and column
// distance.
type RelativeBias struct {
	Side int // w, of the grid

	// Table is [(2w-1)²+3, heads]: a row for each distance. The last three rows (class token,
	// unused) only keep the table's published size.
	Table *tensor.Tensor
}

// RelativeDistances returns the number of rows of the table for a grid of the given side.
func RelativeDistances(side int) int { return (2*side-1)*(2*side-1) + 3 }

// LoadRelativeBias reads the named table.
func LoadRelativeBias(l *Loader, name string, side, heads int) *RelativeBias {
	return &RelativeBias{Side: side, Table: l.Table(name, RelativeDistances(side), heads)}
}

// AddTo sets the bias of in for queries and keys at these positions of the grid, in reading order.
func (b *RelativeBias) AddTo(g *tensor.Graph, in *tensor.AttentionInput, queries, keys []int32) {
	in.Bias = g.Transpose(b.Table)
	in.QPlace = b.places(g, queries)
	in.KPlace = in.QPlace
	if len(keys) != len(queries) || len(keys) > 0 && &keys[0] != &queries[0] {
		in.KPlace = b.places(g, keys)
	}
	// The difference of the places of opposite corners: (2w-1)(w-1) + (w-1).
	in.BiasOrigin = 2 * b.Side * (b.Side - 1)
}

// places returns the positions in a grid of the same rows, 2w-1 wide, whose differences determine
// row and column distances.
func (b *RelativeBias) places(g *tensor.Graph, positions []int32) []int32 {
	places := g.Ints(len(positions))
	side := int32(b.Side)
	for i, p := range positions {
		places[i] = p + p/side*(side-1)
	}
	return places
}
