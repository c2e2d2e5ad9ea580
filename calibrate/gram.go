package calibrate

import (
	"errors"
	"slices"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
)

// gramRidge is the ridge of L2P's least squares, relative to the mean of the diagonal.
const gramRidge = 1e-5

// Gram measures, on uncached samples, the products of a feature at every step with itself at every
// other, summed over all elements of all samples: all that least squares need.
type Gram struct {
	Feature string      // reuse.OutputFeature or reuse.HiddenFeature
	G       [][]float64 // [steps][steps]
}

// Policy returns the policy that computes everything and is measured.
func (m *Gram) Policy() reuse.Policy { return &features{kind: m.Feature, take: m.add} }

// add takes in a batch.
func (m *Gram) add(b *featureBatch) {
	steps := len(b.values)
	if len(m.G) != steps {
		m.G = nil
		for range steps {
			m.G = append(m.G, make([]float64, steps))
		}
	}
	rows, width := b.values[0].Rows, b.values[0].Cols
	b.g.EachRow(steps, steps*rows*width/2, func(p int) {
		for q := range p + 1 {
			sum := 0.0
			for row := range rows {
				sum += float64(kernel.Dot(b.values[p].Row(row), b.values[q].Row(row)))
			}
			m.G[p][q] += sum
		}
	})
	for p := range steps {
		for q := range p {
			m.G[q][p] = m.G[p][q]
		}
	}
}

// Weights returns the weights by which the features of earlier steps add up to that of each step
// with the least squared error, [steps][steps]. Only the steps of columns count, all if it is nil;
// the first step has none.
func (m *Gram) Weights(columns []int) ([][]float64, error) {
	steps := len(m.G)
	weights := make([][]float64, steps)
	for p := range weights {
		weights[p] = make([]float64, steps)
		var earlier []int
		for q := range p {
			if columns == nil || slices.Contains(columns, q) {
				earlier = append(earlier, q)
			}
		}
		if len(earlier) == 0 {
			continue
		}
		a, b := make([][]float64, len(earlier)), make([]float64, len(earlier))
		diagonal := 0.0
		for i, q := range earlier {
			for _, other := range earlier {
				a[i] = append(a[i], m.G[q][other])
			}
			b[i] = m.G[q][p]
			diagonal += m.G[q][q] / float64(len(earlier))
		}
		for i := range a {
			a[i][i] += gramRidge * diagonal
		}
		w, ok := solveSymmetric(a, b)
		if !ok {
			return nil, errors.New("least squares over features have no solution: they are zero, or no numbers")
		}
		for i, q := range earlier {
			weights[p][q] = w[i]
		}
	}
	return weights, nil
}
