package reuse

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/seam"
)

// Selection is a way to spread the tokens that a P-step computes over blocks and cells, given their
// importance.
type Selection string

const (
	// PerBlock keeps the most important tokens of every block, the same share in each.
	PerBlock Selection = "per-block"
	// Global keeps the most important of all pairs of block and token, so that blocks get different
	// shares: the second version.
	Global Selection = "global"
	// Grid prunes the least important blocks, and in them the least important Cell of the four
	// tokens of every 2x2 cell: the first version. Pruning so never empties a region.
	Grid Selection = "grid"
)

// selector chooses the tokens that a P-step computes, among those of the image. Where it computes
// any, the tokens of a text are computed in every block.
type selector struct {
	selection    Selection
	cell         int // of Grid: tokens pruned of four
	blocks, side int
	text         int       // tokens of a sample that are a text's
	image        []float32 // scratch of choose
	keys         []uint64  // scratch of top
	order        []int32   // what it returns
}

// defaultCell is the Cell of a Grid that does not say: one token of every cell stays.
const defaultCell = 3

// MinRatio is the smallest share of tokens above 0 that a selection can compute.
func MinRatio(s Selection, cell int) float64 {
	if s == Grid {
		return 1 - float64(cell)/4
	}
	return 0
}

// newSelector returns the selector of a valid policy for a model.
func newSelector(t *TokenCache, m *seam.Shape) (selector, error) {
	if t.Ratio > 0 && t.Selection == Grid && (m.GridRows%2 != 0 || m.GridCols%2 != 0) {
		return selector{}, fmt.Errorf("selection=%s: want a grid of tokens with even sides, got %d x %d",
			Grid, m.GridRows, m.GridCols)
	}
	return selector{
		selection: t.Selection,
		cell:      t.Cell,
		blocks:    m.Blocks,
		side:      m.GridCols,
		text:      m.Text,
	}, nil
}

// share returns the share of all pairs of block and token that choose keeps for a ratio, of n
// tokens.
func (k *selector) share(n int, ratio float64) float64 {
	image := n - k.text
	share := k.imageShare(image, ratio)
	if k.text == 0 || share == 0 {
		return share
	}
	return (share*float64(image) + float64(k.text)) / float64(n)
}

// imageShare is share of the n tokens of an image.
func (k *selector) imageShare(n int, ratio float64) float64 {
	pairs := float64(k.blocks * n)
	switch {
	case ratio == 0:
		return 0
	case k.selection == PerBlock:
		return math.Round(ratio*float64(n)) / float64(n)
	case k.selection == Global:
		return math.Round(ratio*pairs) / pairs
	}
	return 1 - float64(k.prunedBlocks(ratio))*float64(k.cell)/4/float64(k.blocks)
}

// prunedBlocks returns how many blocks Grid prunes, to bring the kept share to ratio.
func (k *selector) prunedBlocks(ratio float64) int {
	return min(k.blocks, int(math.Round((1-ratio)*float64(k.blocks)*4/float64(k.cell))))
}

// choose sets kept[block] to the tokens of a sample that are computed, in rising order, given the
// importance alpha, [blocks, tokens], and the share of all pairs of block and image token that is
// kept.
func (k *selector) choose(kept [][]int32, alpha []float32, ratio float64) {
	if k.text == 0 {
		k.chooseImage(kept, alpha, ratio)
		return
	}
	n := len(alpha) / k.blocks
	k.image = k.image[:0]
	for b := range kept {
		k.image = append(k.image, alpha[b*n+k.text:(b+1)*n]...)
	}
	k.chooseImage(kept, k.image, ratio)
	if !slices.ContainsFunc(kept, func(list []int32) bool { return len(list) > 0 }) {
		return
	}
	for b, list := range kept {
		list = slices.Grow(list, k.text)[:len(list)+k.text]
		copy(list[k.text:], list)
		for i := range list {
			if i < k.text {
				list[i] = int32(i)
			} else {
				list[i] += int32(k.text)
			}
		}
		kept[b] = list
	}
}

// chooseImage is choose among the tokens of an image, counted from 0.
func (k *selector) chooseImage(kept [][]int32, alpha []float32, ratio float64) {
	n := len(alpha) / k.blocks
	for b := range kept {
		kept[b] = kept[b][:0]
	}
	switch {
	case ratio == 0:
	case k.selection == PerBlock:
		count := int(math.Round(ratio * float64(n)))
		for b := range kept {
			kept[b] = append(kept[b], k.top(alpha[b*n:(b+1)*n], count)...)
		}
	case k.selection == Global:
		for _, i := range k.top(alpha, int(math.Round(ratio*float64(len(alpha))))) {
			kept[int(i)/n] = append(kept[int(i)/n], i%int32(n))
		}
	default:
		k.grid(kept, alpha, n, ratio)
	}
	for b := range kept {
		slices.Sort(kept[b])
	}
}

// top returns the indices of the count largest values; of equal ones the first.
func (k *selector) top(values []float32, count int) []int32 {
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

// falling returns a number that is the smaller the larger v is, so that numbers can be sorted
// instead of values.
func falling(v float32) uint32 {
	bits := math.Float32bits(v + 0) // -0 and 0 are equal
	if bits>>31 != 0 {
		return bits
	}
	return ^bits &^ (1 << 31)
}

// grid prunes the least important blocks, and in them the least important tokens of each cell.
func (k *selector) grid(kept [][]int32, alpha []float32, n int, ratio float64) {
	importance := make([]float32, k.blocks)
	for b := range importance {
		for _, a := range alpha[b*n : (b+1)*n] {
			importance[b] += a / float32(n)
		}
	}
	whole := make([]bool, k.blocks)
	for _, b := range k.top(importance, k.blocks-k.prunedBlocks(ratio)) {
		whole[b] = true
	}
	for b := range kept {
		if whole[b] {
			for i := range n {
				kept[b] = append(kept[b], int32(i))
			}
			continue
		}
		side := int32(k.side)
		for y := int32(0); y < int32(n)/side; y += 2 {
			for x := int32(0); x < side; x += 2 {
				first := y*side + x
				at := [4]int32{first, first + 1, first + side, first + side + 1}
				slices.SortFunc(at[:], func(i, j int32) int {
					return cmp.Or(cmp.Compare(alpha[b*n+int(j)], alpha[b*n+int(i)]), cmp.Compare(i, j))
				})
				kept[b] = append(kept[b], at[:4-k.cell]...)
			}
		}
	}
}
