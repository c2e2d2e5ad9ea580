package eval

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Gaussian is the normal distribution that has the mean and the covariance of the features of a set
// of images: all that the Fréchet distance needs to know of the set.
type Gaussian struct {
	N          int // images; 0 if unknown
	Mean       []float64
	Covariance *mat.SymDense
}

// Note returns a warning if the distribution was estimated from fewer images than features, else
// "". what names the images in it: "samples".
func (n *Gaussian) Note(what string) string {
	if n.N == 0 || n.N > len(n.Mean) {
		return ""
	}
	return fmt.Sprintf("%d %s for %d features: the distance is right, but says little; give more",
		n.N, what, len(n.Mean))
}

func (n *Gaussian) check() error {
	d := len(n.Mean)
	switch {
	case d < 1 || n.Covariance == nil || n.Covariance.SymmetricDim() != d:
		return errors.New("a mean and a covariance of different widths, or of none")
	case n.N == 1 || n.N < 0:
		return fmt.Errorf("a Fréchet distance of a set of %d images: want at least 2", n.N)
	}
	for i, v := range n.Mean {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("mean %d is not a finite number", i)
		}
	}
	for i := range d {
		for j := i; j < d; j++ {
			if v := n.Covariance.At(i, j); math.IsNaN(v) || math.IsInf(v, 0) || i == j && v < 0 {
				return fmt.Errorf("covariance %d, %d is %g", i, j, v)
			}
		}
	}
	return nil
}

// Frechet returns the Fréchet distance between the Gaussians of two sets: see Gaussian.Frechet.
func Frechet(a, b *Moments) (float64, error) {
	switch {
	case len(a.Mean) != len(b.Mean):
		return 0, fmt.Errorf("features of width %d and of width %d cannot be compared", len(a.Mean), len(b.Mean))
	case a.N < 2 || b.N < 2:
		return 0, fmt.Errorf("a Fréchet distance of sets of %d and %d images: want at least 2 each", a.N, b.N)
	}
	return a.Gaussian().Frechet(b.Gaussian())
}

// Frechet returns the Fréchet distance between two distributions (Heusel et al. 2017, arXiv
// 1706.08500, equation 6):
//
//	|mean_a - mean_b|² + tr(A + B - 2·(AB)^½)
//
// It is exact also for sets with fewer vectors than dimensions, but then such small sets bias it.
func (n *Gaussian) Frechet(other *Gaussian) (float64, error) {
	r, err := n.factor()
	if err != nil {
		return 0, err
	}
	return r.frechet(other)
}

// factored is a distribution whose covariance is the product Uᵀ·U.
type factored struct {
	*Gaussian
	root *mat.Dense // U, [rank, D]
}

func (n *Gaussian) factor() (*factored, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	var cholesky mat.PivotedCholesky
	cholesky.Factorize(n.Covariance, -1) // not ok is a rank below D, which is no error
	rank, d := cholesky.Rank(), len(n.Mean)
	root := mat.NewDense(max(rank, 1), d, nil)
	u := cholesky.RawU()
	for j, at := range cholesky.ColumnPivots(nil) {
		for i := range min(rank, j+1) {
			root.Set(i, at, u.At(i, j))
		}
	}
	return &factored{n, root}, nil
}

// frechet returns the distance. With A = UᵀU and B = VᵀV the trace of (AB)^½ is the sum of the
// singular values of U·Vᵀ: their squares are the eigenvalues of AB.
func (f *factored) frechet(other *Gaussian) (float64, error) {
	if len(f.Mean) != len(other.Mean) {
		return 0, fmt.Errorf("features of width %d and of width %d cannot be compared", len(f.Mean), len(other.Mean))
	}
	g, err := other.factor()
	if err != nil {
		return 0, err
	}
	var product mat.Dense
	product.Mul(f.root, g.root.T())
	var svd mat.SVD
	if !svd.Factorize(&product, mat.SVDNone) {
		return 0, errors.New("the singular values of the product of the covariances' roots were not found")
	}
	cross := 0.0
	for _, v := range svd.Values(nil) {
		cross += v
	}
	sum := 0.0
	for i := range f.Mean {
		d := f.Mean[i] - other.Mean[i]
		sum += d * d
	}
	return max(sum+mat.Trace(f.Covariance)+mat.Trace(other.Covariance)-2*cross, 0), nil // below 0 is rounding
}
