package calibrate

import (
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// pathWindow is how many steps before a key step the key step before it may be.
const pathWindow = 15

// PathCosts measures DPCache's costs on uncached samples: how far forecasts of the last block's
// output go astray. The cost of going from key step i on to key step j, where a is the key step
// before i, is
//
//	Σ mean|f_q - h_q| / 2    over the steps q = i+1 ... j,
//
// the mean over all elements of the samples. f_q is the Taylor series of order 2 at i, whose
// differences are those of the outputs h at the steps a-1, a and i. Step j = T, after the last, is
// made up: 0.8 of the forecast to it from the last three steps and 0.2 of their mean. The first
// steps are key steps that have no such differences: going from 0 to 1 and from 1 to 2 costs
// nothing.
type PathCosts struct {
	Steps int
	// Reach is the longest way from one key step to the next that is measured; 0: there is no limit.
	Reach int

	sums    []float64 // of the samples, [Steps, pathWindow, Steps+1]: i, i-a-1, j
	samples int
}

// Policy returns the policy that computes everything and is measured.
func (c *PathCosts) Policy() reuse.Policy {
	return &features{kind: reuse.HiddenFeature, take: c.add}
}

// At returns the cost of going from i to j where a is the key step before i, infinite if that
// cannot be.
func (c *PathCosts) At(a, i, j int) float64 {
	switch {
	case i <= 1 && j == i+1 && a <= i:
		return 0
	case i < 2 || a < 1 || a >= i || i-a > pathWindow || j <= i || j > c.Steps || c.Reach > 0 && j-i > c.Reach:
		return math.Inf(1)
	}
	return c.sums[c.index(a, i, j)] / float64(c.samples)
}

func (c *PathCosts) index(a, i, j int) int { return (i*pathWindow+i-a-1)*(c.Steps+1) + j }

// add takes in a batch.
func (c *PathCosts) add(b *featureBatch) {
	if c.Steps != len(b.values) {
		*c = PathCosts{Steps: len(b.values), Reach: c.Reach}
		c.sums = make([]float64, c.Steps*pathWindow*(c.Steps+1))
	}
	c.samples += b.samples()
	end := afterLast(b.values)
	type pair struct{ a, i int }
	var pairs []pair
	for i := 2; i < c.Steps; i++ {
		for a := max(1, i-pathWindow); a < i; a++ {
			pairs = append(pairs, pair{a, i})
		}
	}
	b.g.EachRow(len(pairs), b.values[0].Rows*b.values[0].Cols, func(k int) {
		c.follow(b, end, pairs[k].a, pairs[k].i)
	})
}

// afterLast returns the made-up output after the last step, nil if there are too few steps.
func afterLast(values []*tensor.Tensor) *tensor.Tensor {
	n := len(values)
	if n < 3 {
		return nil
	}
	third, second, first := values[n-3].Flat(), values[n-2].Flat(), values[n-1].Flat()
	end := newLike(values[n-1])
	for k := range end.Flat() {
		d1, before := first[k]-second[k], second[k]-third[k]
		forecast := first[k] + d1 + (d1-before)/2
		end.Flat()[k] = 0.8*forecast + 0.2*(first[k]+second[k]+third[k])/3
	}
	return end
}

func newLike(x *tensor.Tensor) *tensor.Tensor {
	return tensor.FromSlice(make([]float32, x.Rows*x.Cols), x.Rows, x.Cols)
}

// follow adds the costs of all ways from i, where a is the key step before.
func (c *PathCosts) follow(b *featureBatch, end *tensor.Tensor, a, i int) {
	width := b.values[0].Cols
	d1, d2, before := make([]float32, width), make([]float32, width), make([]float32, width)
	last := c.Steps
	if c.Reach > 0 {
		last = min(last, i+c.Reach)
	}
	off := make([]float64, last+1) // of each step, summed over elements
	gap := float32(i - a)
	for row := range b.values[0].Rows {
		now := b.values[i].Row(row)
		kernel.Sub(d1, now, b.values[a].Row(row))
		kernel.Scale(d1, d1, 1/gap)
		kernel.Sub(before, b.values[a].Row(row), b.values[a-1].Row(row))
		kernel.Sub(d2, d1, before)
		kernel.Scale(d2, d2, 1/gap)
		forecast := before
		for q := i + 1; q <= last; q++ {
			want := end
			if q < c.Steps {
				want = b.values[q]
			}
			h := float32(q - i)
			copy(forecast, now)
			kernel.AXPY(forecast, h, d1)
			kernel.AXPY(forecast, h*h/2, d2)
			off[q] += float64(kernel.L1Diff(forecast, want.Row(row)))
		}
	}
	sum := 0.0
	for q := i + 1; q <= last; q++ {
		sum += off[q] / float64(2*b.rows*width)
		c.sums[c.index(a, i, q)] += sum
	}
}
