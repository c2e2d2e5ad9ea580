package eval

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Moments are the mean and the covariance of feature vectors, gathered in any number of parts, whose sum is the same up to rounding.
type Moments struct {
	N    int
	Mean []float64     // [D]
	M2   *mat.SymDense // [D, D]: the sum of the outer products of what is left without the mean
}

// NewMoments returns the moments of no vectors of width d.
func NewMoments(d int) *Moments {
	return &Moments{Mean: make([]float64, d), M2: mat.NewSymDense(d, nil)}
}

// momentsBlock is how many vectors are taken in at a time.
const momentsBlock = 512

// Add takes in the rows of features, [n, D], one behind the other. It fails if one is not a number.
func (m *Moments) Add(features []float32) error {
	d := len(m.Mean)
	if len(features)%d != 0 {
		return fmt.Errorf("%d numbers are not a whole number of features of width %d", len(features), d)
	}
	for len(features) > 0 {
		n := min(len(features)/d, momentsBlock)
		block := mat.NewDense(n, d, nil)
		part := NewMoments(d)
		part.N = n
		for i := range n {
			for j, v := range features[i*d : (i+1)*d] {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					return fmt.Errorf("feature %d of picture %d is not a finite number", j, m.N+i)
				}
				block.Set(i, j, float64(v))
				part.Mean[j] += float64(v) / float64(n)
			}
		}
		for i := range n {
			row := block.RawRowView(i)
			for j := range row {
				row[j] -= part.Mean[j]
			}
		}
		part.M2.SymOuterK(1, block.T())
		m.Merge(part)
		features = features[n*d:]
	}
	return nil
}

// Merge takes in what other gathered (Chan et al. 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances").
func (m *Moments) Merge(other *Moments) {
	if other.N == 0 {
		return
	}
	total := float64(m.N + other.N)
	delta := make([]float64, len(m.Mean))
	for i := range delta {
		delta[i] = other.Mean[i] - m.Mean[i]
		m.Mean[i] += delta[i] * float64(other.N) / total
	}
	m.M2.AddSym(m.M2, other.M2)
	m.M2.SymRankOne(m.M2, float64(m.N)*float64(other.N)/total, mat.NewVecDense(len(delta), delta))
	m.N += other.N
}

// Covariance returns the covariance with divisor N-1, as the field's evaluators take it.
func (m *Moments) Covariance() *mat.SymDense {
	var c mat.SymDense
	c.ScaleSym(1/float64(max(m.N-1, 1)), m.M2)
	return &c
}

// Frechet returns the Frechet distance between the normal distributions with the moments of two sets (Heusel et al. 2017, arXiv 1706.08500, equation 6):
//
//	|mean_a - mean_b|² + tr(A + B - 2·(AB)^½)
//
// It is right also where a set has fewer vectors than dimensions, though such sets look nearer to each other than they are.
func Frechet(a, b *Moments) (float64, error) {
	switch {
	case len(a.Mean) != len(b.Mean):
		return 0, fmt.Errorf("features of width %d and of width %d cannot be compared", len(a.Mean), len(b.Mean))
	case a.N < 2 || b.N < 2:
		return 0, fmt.Errorf("a Frechet distance of sets of %d and %d pictures: want at least 2 each", a.N, b.N)
	}
	sum := 0.0
	for i := range a.Mean {
		d := a.Mean[i] - b.Mean[i]
		sum += d * d
	}
	ca, cb := a.Covariance(), b.Covariance()
	root, err := symSqrt(ca)
	if err != nil {
		return 0, err
	}
	var half, product mat.Dense
	half.Mul(root, cb)
	product.Mul(&half, root)
	n := len(a.Mean)
	sym := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			sym.SetSym(i, j, (product.At(i, j)+product.At(j, i))/2)
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(sym, false) {
		return 0, errors.New("the eigenvalues of the product of covariances were not found")
	}
	cross := 0.0
	for _, v := range eigen.Values(nil) {
		cross += math.Sqrt(max(v, 0))
	}
	return sum + mat.Trace(ca) + mat.Trace(cb) - 2*cross, nil
}

// symSqrt returns the symmetric square root of a covariance.
func symSqrt(c *mat.SymDense) (*mat.Dense, error) {
	var eigen mat.EigenSym
	if !eigen.Factorize(c, true) {
		return nil, errors.New("the eigenvectors of a covariance were not found")
	}
	var vectors, scaled, root mat.Dense
	eigen.VectorsTo(&vectors)
	values := eigen.Values(nil)
	scaled.Apply(func(_, j int, v float64) float64 { return v * math.Sqrt(max(values[j], 0)) }, &vectors)
	root.Mul(&scaled, vectors.T())
	return &root, nil
}
