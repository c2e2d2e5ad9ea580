package redundancy

import (
	"math"
	"strconv"
)

// grid is the number of equal shares of the tokens at which a Concentration is known.
const grid = 20

// held is a sum of squared errors, and how much of it the tokens that come first in a ranking hold.
type held struct {
	all   float64
	first [grid]float64 // in the first 1/grid of the tokens, 2/grid, ...
}

// add takes in the squared errors of a sample's tokens in a block, and their order in a ranking. A
// share that ends within a token counts that part of it, so that a random ranking's expectation is
// the share.
func (h *held) add(squares []float32, order []int32) {
	n := float64(len(order))
	sum, k := 0.0, 0
	for i, token := range order {
		v := float64(squares[token])
		for ; k < grid && float64(k+1)/grid*n <= float64(i+1); k++ {
			h.first[k] += sum + (float64(k+1)/grid*n-float64(i))*v
		}
		sum += v
	}
	h.all += sum
	for ; k < grid; k++ {
		h.first[k] += sum
	}
}

// plus adds another's sums.
func (h *held) plus(o *held) {
	h.all += o.all
	for k, v := range o.first {
		h.first[k] += v
	}
}

// share returns the part of the error that the first tokens hold, a share of all, which lies
// between two points of the grid on their line; 0 where there is no error.
func (h *held) share(of float64) float64 {
	if h.all == 0 {
		return 0
	}
	at := of * grid
	k := min(int(math.Floor(at+1e-9)), grid)
	low, high := 0.0, h.all
	if k > 0 {
		low = h.first[k-1]
	}
	if k < grid {
		high = h.first[k]
	}
	return (low + max(0, at-float64(k))*(high-low)) / h.all
}

// tally holds the errors of forecasts, by ranking, block and step.
type tally struct {
	steps, blocks int
	of            map[Ranking][]held // [blocks*steps]
	whole         held               // of all blocks together, by the oracle
}

func newTally(blocks, steps int) *tally {
	t := &tally{steps: steps, blocks: blocks, of: make(map[Ranking][]held)}
	for _, by := range Rankings() {
		t.of[by] = make([]held, blocks*steps)
	}
	return t
}

func (t *tally) add(by Ranking, block, step int, squares []float32, order []int32) {
	t.of[by][block*t.steps+step].add(squares, order)
}

// sum returns the errors of a ranking in some of the blocks and steps together.
func (t *tally) sum(by Ranking, in func(block, step int) bool) *held {
	all := new(held)
	for i := range t.of[by] {
		if in(i/t.steps, i%t.steps) {
			all.plus(&t.of[by][i])
		}
	}
	return all
}

func everywhere(int, int) bool { return true }

// byBlockAndStep returns the concentrations of a ranking, [step][block]. Where nothing is forecast,
// which is at I-steps, a step has nil.
func (t *tally) byBlockAndStep(by Ranking) [][]Concentration {
	list := make([][]Concentration, t.steps)
	for p := range list {
		if t.sum(by, func(_, step int) bool { return step == p }).all == 0 {
			continue
		}
		for l := range t.blocks {
			list[p] = append(list[p], t.of[by][l*t.steps+p].concentration())
		}
	}
	return list
}

// Concentration is the share of the squared forecast error that the tokens hold that come first in
// a ranking, by the share of each block's tokens, such as "0.25". Errors are summed over samples
// (both halves of guidance), blocks and steps before they are divided, so that blocks and steps
// count by their error.
type Concentration map[string]float64

// shares are those of a Concentration.
var shares = []float64{0.05, 0.1, 0.25, 0.5}

func (h *held) concentration() Concentration {
	c := Concentration{}
	for _, s := range shares {
		c[strconv.FormatFloat(s, 'g', -1, 64)] = h.share(s)
	}
	return c
}
