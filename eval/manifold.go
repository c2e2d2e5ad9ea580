package eval

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas/blas64"
)

// Manifold is the part of the space of features that a set of images covers: a ball around each
// image, which reaches to its k-th nearest neighbour (Kynkäänniemi et al. 2019, arXiv 1904.06991).
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
		return nil, fmt.Errorf("balls that reach to neighbour %d among %d images: want more images than that", k, n)
	}
	m := &Manifold{Radii: make([]float64, len(features)/width), features: features, width: width}
	// The k+1 smallest distances of each image, ascending; the first is that to itself.
	nearest := make([][]float64, len(m.Radii))
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

// PrecisionRecall says of each sample whether it lies in the manifold of the reference, and of each
// image of the reference whether it lies in the manifold of the samples: precision and recall are
// their BootstrapShare. Distances are exact to rounding in float64; the ADM evaluator computes them
// in float16 where it can.
func PrecisionRecall(reference, samples []float32, width, k int) (good, found []bool, err error) {
	of, err := NewManifold(reference, width, k)
	if err != nil {
		return nil, nil, fmt.Errorf("reference: %w", err)
	}
	sampled, err := NewManifold(samples, width, k)
	if err != nil {
		return nil, nil, fmt.Errorf("samples: %w", err)
	}
	if good, err = of.Contains(samples); err != nil {
		return nil, nil, err
	}
	found, err = sampled.Contains(reference)
	return good, found, err
}

// BootstrapShare returns the share of the images that are in, with its interval.
func BootstrapShare(in []bool, seed uint64) (Estimate, error) {
	values := make([]float64, len(in))
	for i, v := range in {
		if v {
			values[i] = 1
		}
	}
	return BootstrapMean(values, MeanResamples, seed)
}

// distanceBlock is how many rows of each side are compared at a time.
const distanceBlock = 64

// squaredDistances calls visit with the squares of the distances of row i of a to rows of b from
// first on. A row of a is visited by one goroutine, with the rows of b in order. A distance depends
// on the two rows alone, not on their positions, and that of equal rows is exactly 0.
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
