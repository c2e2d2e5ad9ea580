package nn

import "github.com/tokencache/tokencache/tensor"

// RelativeBias is what attention adds to the product of a query and a key for their distance in a square grid of tokens, as in BEiT: a number for each head,
// row distance and column distance.
type RelativeBias struct {
	Side  int            // w, of the grid
	Table *tensor.Tensor // [(2w-1)²+3, heads]: a row for each distance, then three that belong to tokens outside of the grid, which there are none of
}

// RelativeDistances returns the number of rows that the table of a grid of the given side has.
func RelativeDistances(side int) int { return (2*side-1)*(2*side-1) + 3 }

// LoadRelativeBias reads the named table.
func LoadRelativeBias(l *Loader, name string, side, heads int) *RelativeBias {
	return &RelativeBias{Side: side, Table: l.Table(name, RelativeDistances(side), heads)}
}

// AddTo gives attention the bias of queries and keys that stand at these positions of the grid, which count in reading order.
func (b *RelativeBias) AddTo(g *tensor.Graph, in *tensor.AttentionInput, queries, keys []int32) {
	in.Bias = g.Transpose(b.Table)
	in.QPlace = b.places(g, queries)
	in.KPlace = in.QPlace
	if len(keys) != len(queries) || len(keys) > 0 && &keys[0] != &queries[0] {
		in.KPlace = b.places(g, keys)
	}
	in.BiasOrigin = 2 * b.Side * (b.Side - 1) // of the two farthest corners: (2w-1)(w-1) + (w-1)
}

// places returns numbers whose differences tell row and column distances: the positions in a grid of the same rows, 2w-1 wide.
func (b *RelativeBias) places(g *tensor.Graph, positions []int32) []int32 {
	places := g.Ints(len(positions))
	side := int32(b.Side)
	for i, p := range positions {
		places[i] = p + p/side*(side-1)
	}
	return places
}
