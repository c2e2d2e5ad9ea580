package eval

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas/blas64"
)

// Manifold is the part of the space of features that a set of pictures covers: a ball around each of them, which reaches to the k-th nearest other one
// (Kynkäänniemi et al. 2019, arXiv 1904.06991).
type Manifold struct {
	Radii []float64 // the square of each ball's radius

	features []float32
	width    int
}

// ManifoldNeighbours is the k of the field's evaluators.
const ManifoldNeighbours = 3

// NewManifold returns the manifold of features, [n, width], which it keeps.
func NewManifold(features []float32, width, k int) (*Manifold, error) {
	if err := checkFeatures(features, width, 0); err != nil {
		return nil, err
	}
	if n := len(features) / width; k < 1 || n <= k {
		return nil, fmt.Errorf("balls that reach to neighbour %d among %d pictures: want more pictures than that", k, n)
	}
	m := &Manifold{Radii: make([]float64, len(features)/width), features: features, width: width}
	nearest := make([][]float64, len(m.Radii)) // the k+1 smallest distances, in order; the first is a picture's to itself
	squaredDistances(features, features, width, func(i, _ int, row []float64) {
		for _, d := range row {
			list := nearest[i]
			switch {
			case len(list) <= k:
				list = append(list, d)
			case d < list[k]:
				list[k] = d
			default:
				continue
			}
			for at := len(list) - 1; at > 0 && list[at] < list[at-1]; at-- {
				list[at], list[at-1] = list[at-1], list[at]
			}
			nearest[i] = list
		}
	})
	for i, list := range nearest {
		m.Radii[i] = list[k]
	}
	return m, nil
}

// Contains says of each of the features, [n, width], whether it lies in one of the balls.
func (m *Manifold) Contains(features []float32) ([]bool, error) {
	if err := checkFeatures(features, m.width, 0); err != nil {
		return nil, err
	}
	in := make([]bool, len(features)/m.width)
	squaredDistances(features, m.features, m.width, func(i, first int, row []float64) {
		for j, d := range row {
			in[i] = in[i] || d <= m.Radii[first+j]
		}
	})
	return in, nil
}

// PrecisionRecall says of each of the samples whether it lies in the manifold of the reference, and of each picture of the reference whether it lies in that of the samples: precision and recall are the Share of either.
// Distances are exact to rounding in float64, where the ADM evaluator takes them in float16 if it can.
func PrecisionRecall(reference, samples []float32, width, k int) (good, found []bool, err error) {
	of, err := NewManifold(reference, width, k)
	if err != nil {
		return nil, nil, fmt.Errorf("reference: %w", err)
	}
	drawn, err := NewManifold(samples, width, k)
	if err != nil {
		return nil, nil, fmt.Errorf("samples: %w", err)
	}
	if good, err = of.Contains(samples); err != nil {
		return nil, nil, err
	}
	found, err = drawn.Contains(reference)
	return good, found, err
}

// Share returns how many of the pictures are in, as a share, and its interval for others drawn as these were, with the balls as they are.
func Share(in []bool, seed uint64) (float64, Interval, error) {
	values, n := make([]float64, len(in)), 0
	for i, v := range in {
		if v {
			values[i] = 1
			n++
		}
	}
	interval, err := BootstrapMean(values, MeanResamples, seed)
	return float64(n) / float64(max(len(in), 1)), interval, err
}

// distanceBlock is how many rows of each side are compared at a time.
const distanceBlock = 64

// squaredDistances calls visit with the squares of the distances of row i of a to rows of b from first on. A row of a is visited by one goroutine, with the rows of b in order.
// A distance depends on the two rows alone, not on their places, and that of equal rows is exactly 0.
func squaredDistances(a, b []float32, width int, visit func(i, first int, row []float64)) {
	rows := len(a) / width
	squares := make([]float64, len(b)/width)
	wide := make([]float64, width)
	for j := range squares {
		widen(wide, b[j*width:])
		squares[j] = dot(wide, wide)
	}
	parallel((rows+distanceBlock-1)/distanceBlock, func(block int) {
		i0 := block * distanceBlock
		i1 := min(i0+distanceBlock, rows)
		x, y := make([]float64, (i1-i0)*width), make([]float64, distanceBlock*width)
		widen(x, a[i0*width:])
		row := make([]float64, distanceBlock)
		for j0 := 0; j0 < len(squares); j0 += distanceBlock {
			n := min(distanceBlock, len(squares)-j0)
			widen(y[:n*width], b[j0*width:])
			for i := i0; i < i1; i++ {
				from := x[(i-i0)*width:][:width]
				square := dot(from, from)
				for j := range n {
					row[j] = math.Max(square+squares[j0+j]-2*dot(from, y[j*width:][:width]), 0)
				}
				visit(i, j0, row[:n])
			}
		}
	})
}

func widen(dst []float64, src []float32) {
	for i := range dst {
		dst[i] = float64(src[i])
	}
}

func dot(a, b []float64) float64 {
	return blas64.Dot(blas64.Vector{N: len(a), Inc: 1, Data: a}, blas64.Vector{N: len(b), Inc: 1, Data: b})
}
