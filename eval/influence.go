package eval

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// FrechetInterval returns the interval of the Frechet distance between samples and a reference for other samples drawn as these were, where resampling the distance itself would take too long: it resamples the distance's
// influence function, the first order of what one more picture with features x would change,
//
//	2(mean-mean_r)·z + zᵀ(I-T)z - tr((I-T)B)        z = x - mean,   T = A^½·(A^½·B·A^½)^-½·A^½
//
// with the covariances A of the reference and B of the samples (Efron 1981, "Nonparametric Standard Errors and Confidence Intervals": the infinitesimal jackknife; T is the linear map of
// the optimal transport between the two distributions). kept are features [n, D] of the samples or of some of them, from which the interval of all samples.N is inferred. It costs an eigenvalue decomposition and one
// pass over kept. Of fewer samples than features it is too narrow, as B then knows nothing of most directions.
func FrechetInterval(samples, reference *Normal, kept []float32, seed uint64) (Interval, error) {
	d := len(samples.Mean)
	if err := checkFeatures(kept, d, 0); err != nil {
		return Interval{}, err
	}
	n := len(kept) / d
	if n < 2 || samples.N < n {
		return Interval{}, fmt.Errorf("interval of a Frechet distance by %d of %d pictures: want at least 2, and no more than there are", n, samples.N)
	}
	distance, transport, err := reference.transport(samples)
	if err != nil {
		return Interval{}, err
	}
	rank, _ := transport.Dims()
	const block = 256
	influence := make([]float64, n)
	parallel((n+block-1)/block, func(part int) {
		first := part * block
		rows := min(block, n-first)
		z := mat.NewDense(rows, d, nil)
		for i := range rows {
			row := z.RawRowView(i)
			for j := range row {
				row[j] = float64(kept[(first+i)*d+j]) - samples.Mean[j]
			}
		}
		moved := mat.NewDense(rows, rank, nil)
		moved.Mul(z, transport.T())
		for i := range rows {
			row, m := z.RawRowView(i), moved.RawRowView(i)
			v := dot(row, row) - dot(m, m)
			for j := range row {
				v += 2 * (samples.Mean[j] - reference.Mean[j]) * row[j]
			}
			influence[first+i] = v
		}
	})
	in, err := BootstrapMean(influence, MeanResamples, seed)
	if err != nil {
		return Interval{}, err
	}
	mean := 0.0
	for _, v := range influence {
		mean += v / float64(n)
	}
	narrower := math.Sqrt(float64(n) / float64(samples.N))
	return Interval{Low: max(distance+(in.Low-mean)*narrower, 0), High: distance + (in.High-mean)*narrower}, nil
}

// transport returns the Frechet distance to other and a root W of the transport T = WᵀW between the two distributions' covariances, [rank, D]. With A = UᵀU and the decomposition U·B·Uᵀ = P·S²·Pᵀ it is
// W = S^-½·Pᵀ·U.
func (n *Normal) transport(other *Normal) (float64, *mat.Dense, error) {
	r, err := n.factor()
	if err != nil {
		return 0, nil, err
	}
	if err := other.check(); err != nil {
		return 0, nil, err
	}
	if len(n.Mean) != len(other.Mean) {
		return 0, nil, fmt.Errorf("features of width %d and of width %d cannot be compared", len(n.Mean), len(other.Mean))
	}
	var half, whole mat.Dense
	half.Mul(r.root, other.Covariance)
	whole.Mul(&half, r.root.T())
	rank, _ := whole.Dims()
	symmetric := mat.NewSymDense(rank, nil)
	for i := range rank {
		for j := i; j < rank; j++ {
			symmetric.SetSym(i, j, (whole.At(i, j)+whole.At(j, i))/2)
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(symmetric, true) {
		return 0, nil, errors.New("the eigenvalues of the product of the covariances were not found")
	}
	values := eigen.Values(nil)
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	const tiny = 1e-10 // of the largest: directions that one of the sets does not have
	distance := mat.Trace(n.Covariance) + mat.Trace(other.Covariance)
	for i, m := range n.Mean {
		distance += (m - other.Mean[i]) * (m - other.Mean[i])
	}
	for j, v := range values {
		scale := 0.0
		if v > tiny*values[rank-1] {
			scale = math.Pow(v, -0.25) // S^-½, where v is of S²
			distance -= 2 * math.Sqrt(v)
		}
		for i := range rank {
			vectors.Set(i, j, vectors.At(i, j)*scale)
		}
	}
	w := new(mat.Dense)
	w.Mul(vectors.T(), r.root)
	return distance, w, nil
}
