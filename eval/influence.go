package eval

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// InfluenceFrechet returns the Fréchet distance between samples and a reference with an interval,
// where resampling the distance itself would take too long. It resamples the distance's influence
// function, the first order of the change that one more image with features x makes,
//
//	2(mean-mean_r)·z + zᵀ(I-T)z - tr((I-T)B)        z = x - mean,   T = A^½·(A^½·B·A^½)^-½·A^½
//
// with the covariances A of the reference and B of the samples (Efron 1981, "Nonparametric Standard
// Errors and Confidence Intervals": the infinitesimal jackknife; T is the linear map of the optimal
// transport between the two distributions).
//
// kept are features [n, D] of the samples or of some of them, from which the interval for all
// samples.N is inferred. It costs a singular value decomposition, an eigenvalue decomposition and
// one pass over kept. With fewer samples than features the interval is too narrow, because B is
// then 0 in most directions.
func InfluenceFrechet(samples, reference *Gaussian, kept []float32, seed uint64) (Estimate, error) {
	d := len(samples.Mean)
	if err := checkFeatures(kept, d, 0); err != nil {
		return Estimate{}, err
	}
	n := len(kept) / d
	if n < 2 || samples.N < n {
		return Estimate{}, fmt.Errorf("interval of a Fréchet distance by %d of %d images: "+
			"want at least 2, and no more than there are", n, samples.N)
	}
	distance, err := samples.Frechet(reference)
	if err != nil {
		return Estimate{}, err
	}
	transport, err := reference.transport(samples)
	if err != nil {
		return Estimate{}, err
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
		return Estimate{}, err
	}
	narrower := math.Sqrt(float64(n) / float64(samples.N))
	return Estimate{
		Value: distance,
		Low:   max(distance+(in.Low-in.Value)*narrower, 0),
		High:  distance + (in.High-in.Value)*narrower,
	}, nil
}

// transport returns a root W of the transport T = WᵀW between the covariances of two distributions,
// [rank, D]. With A = UᵀU and the decomposition U·B·Uᵀ = P·S²·Pᵀ it is W = S^-½·Pᵀ·U.
func (n *Gaussian) transport(other *Gaussian) (*mat.Dense, error) {
	r, err := n.factor()
	if err != nil {
		return nil, err
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
		return nil, errors.New("the eigenvalues of the product of the covariances were not found")
	}
	values := eigen.Values(nil)
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	const tiny = 1e-10 // of the largest: directions in which one of the sets does not vary
	for j, v := range values {
		scale := 0.0
		if v > tiny*values[rank-1] {
			scale = math.Pow(v, -0.25) // S^-½; v is an element of S²
		}
		for i := range rank {
			vectors.Set(i, j, vectors.At(i, j)*scale)
		}
	}
	w := new(mat.Dense)
	w.Mul(vectors.T(), r.root)
	return w, nil
}
