package reuse

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Selection is a way to distribute the tokens that a P-step computes over blocks and cells, given their importance.
type Selection string

const (
	// PerBlock keeps the most important tokens of every block, the same share in each.
	PerBlock Selection = "per-block"
	// Global keeps the most important of all pairs of block and token, so that each block gets a share of its own: the second version.
	Global Selection = "global"
	// Grid prunes the least important blocks, and in them the least important Cell of the four tokens of every 2x2 cell: the first version. Pruning so
	// never empties a region.
	Grid Selection = "grid"
)

// keepers chooses tokens.
type keepers struct {
	selection    Selection
	ratio        float64 // share of all pairs of block and token that is kept
	cell         int     // of Grid: tokens pruned of four
	blocks, side int
	keys         []uint64 // scratch of top
	order        []int32  // what it returns
}

// defaultCell is the Cell of a Grid that does not say: one token of every cell stays.
const defaultCell = 3

// LeastRatio is the smallest share of tokens above 0 that a selection can compute.
func LeastRatio(s Selection, cell int) float64 {
	if s == Grid {
		return 1 - float64(cell)/4
	}
	return 0
}

func newKeepers(s Selection, ratio float64, cell, blocks, tokens int) (keepers, error) {
	side := int(math.Sqrt(float64(tokens)))
	switch {
	case !(ratio >= 0 && ratio <= 1):
		return keepers{}, fmt.Errorf("share of kept tokens %g: want 0 to 1", ratio)
	case s != PerBlock && s != Global && s != Grid:
		return keepers{}, fmt.Errorf("unknown selection %q: want %s, %s or %s", s, PerBlock, Global, Grid)
	case s == Grid && (cell < 1 || cell > 4):
		return keepers{}, fmt.Errorf("cell=%d: want 1 to 4, the tokens that selection=%s prunes of every 2x2 cell", cell, Grid)
	case s == Grid && (side*side != tokens || side%2 != 0):
		return keepers{}, fmt.Errorf("grid selection of %d tokens: want a square grid of even side", tokens)
	case s == Grid && ratio > 0 && ratio < LeastRatio(s, cell):
		return keepers{}, fmt.Errorf("ratio=%g: selection=%s with cell=%d computes %g of the tokens at least; give that or more, a larger cell, or 0", ratio, Grid, cell, LeastRatio(s, cell))
	}
	return keepers{selection: s, ratio: ratio, cell: cell, blocks: blocks, side: side}, nil
}

// choose appends to kept[block] the tokens of a sample that are computed, in rising order, given the importance alpha, [blocks, tokens].
func (k *keepers) choose(kept [][]int32, alpha []float32) {
	n := len(alpha) / k.blocks
	for b := range kept {
		kept[b] = kept[b][:0]
	}
	switch {
	case k.ratio == 0:
	case k.selection == PerBlock:
		count := int(math.Round(k.ratio * float64(n)))
		for b := range kept {
			kept[b] = append(kept[b], k.top(alpha[b*n:(b+1)*n], count)...)
		}
	case k.selection == Global:
		for _, i := range k.top(alpha, int(math.Round(k.ratio*float64(len(alpha))))) {
			kept[int(i)/n] = append(kept[int(i)/n], i%int32(n))
		}
	default:
		k.grid(kept, alpha, n)
	}
	for b := range kept {
		slices.Sort(kept[b])
	}
}

// top returns the indices of the count largest values; of equal ones the first.
func (k *keepers) top(values []float32, count int) []int32 {
	k.keys, k.order = k.keys[:0], k.order[:0]
	for i, v := range values {
		k.keys = append(k.keys, uint64(falling(v))<<32|uint64(i))
	}
	slices.Sort(k.keys)
	for _, key := range k.keys[:count] {
		k.order = append(k.order, int32(uint32(key)))
	}
	return k.order
}

// falling returns a number that is the smaller the larger v is, so that numbers can be sorted instead of values.
func falling(v float32) uint32 {
	bits := math.Float32bits(v + 0) // -0 and 0 are equal
	if bits>>31 != 0 {
		return bits
	}
	return ^bits &^ (1 << 31)
}

// grid prunes as many blocks as bring the kept share to ratio.
func (k *keepers) grid(kept [][]int32, alpha []float32, n int) {
	pruned := min(k.blocks, int(math.Round((1-k.ratio)*float64(k.blocks)*4/float64(k.cell))))
	importance := make([]float32, k.blocks)
	for b := range importance {
		for _, a := range alpha[b*n : (b+1)*n] {
			importance[b] += a / float32(n)
		}
	}
	whole := make([]bool, k.blocks)
	for _, b := range k.top(importance, k.blocks-pruned) {
		whole[b] = true
	}
	for b := range kept {
		if whole[b] {
			for i := range n {
				kept[b] = append(kept[b], int32(i))
			}
			continue
		}
		for y := 0; y < k.side; y += 2 {
			for x := 0; x < k.side; x += 2 {
				at := [4]int32{int32(y*k.side + x), int32(y*k.side + x + 1), int32((y+1)*k.side + x), int32((y+1)*k.side + x + 1)}
				slices.SortFunc(at[:], func(i, j int32) int {
					return cmp.Or(cmp.Compare(alpha[b*n+int(j)], alpha[b*n+int(i)]), cmp.Compare(i, j))
				})
				kept[b] = append(kept[b], at[:4-k.cell]...)
			}
		}
	}
}
