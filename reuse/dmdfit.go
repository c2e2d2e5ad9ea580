package reuse

import (
	"math"
	"math/cmplx"
)

// maxHistory is the max number of snapshots of a DMD: one more than its modes.
const maxHistory = maxSmall + 1

// minHistory is how many snapshots a fit needs: an oscillation has two numbers, and three pairs
// tell it from growth.
const minHistory = 4

// Constants of the public code: singular values below dmdRank of the first do not count, and
// dmdRidge is added to those that are divided by.
const (
	dmdRank  = 1e-4
	dmdRidge = 1e-8
)

// dmdFit is the linear propagator that takes each of some snapshots Y_0 ... Y_n to the next, by its
// eigenvalues and modes. All is in terms of the snapshots themselves: a mode is a combination of
// Y_1 ... Y_n, and so is a forecast, so that nothing but the snapshots' scalar products must be
// known.
type dmdFit struct {
	pairs, rank int
	modes       small // [pairs, rank]: the snapshots' weights in each mode, times its amplitude
	values      [maxSmall]complex128
}

// fitDMD fits to snapshots of which the scalar products are given, the oldest first. It reports
// whether that was possible.
//
// With the pairs X = [Y_0 ... Y_(n-1)], X' = [Y_1 ... Y_n] and the singular value decomposition
// X = U·S·V*, cut to the singular values that count, the propagator within U is U*·X'·V/(S+ridge),
// its eigenvectors are W, the modes X'·V/(S+ridge)·W, and their amplitudes least squares for Y_n. V
// and S are taken from the eigenvectors of X*·X.
func fitDMD(products *[maxHistory][maxHistory]float64, snapshots int) (f dmdFit, ok bool) {
	n := snapshots - 1
	f.pairs = n
	var square [maxSmall][maxSmall]float64
	for i := range n {
		for j := range n {
			square[i][j] = products[i][j]
		}
	}
	squares, v := eigenSymmetric(&square, n)
	if !(squares[0] > 0) || math.IsInf(squares[0], 0) {
		return f, false
	}
	var s [maxSmall]float64
	for f.rank < n && squares[f.rank] > dmdRank*dmdRank*squares[0] {
		s[f.rank] = math.Sqrt(squares[f.rank])
		f.rank++
	}
	var within small // the propagator
	for a := range f.rank {
		for b := range f.rank {
			sum := 0.0
			for i := range n {
				for j := range n {
					sum += v[i][a] * products[i][j+1] * v[j][b]
				}
			}
			within[a][b] = complex(sum/s[a]/(s[b]+dmdRidge), 0)
		}
	}
	values, w, ok := eigen(&within, f.rank)
	if !ok {
		return f, false
	}
	f.values = values
	for i := range n {
		for a := range f.rank {
			for b := range f.rank {
				f.modes[i][a] += complex(v[i][b]/(s[b]+dmdRidge), 0) * w[b][a]
			}
		}
	}
	return f, f.weigh(products)
}

// weigh multiplies the modes by their amplitudes.
func (f *dmdFit) weigh(products *[maxHistory][maxHistory]float64) (ok bool) {
	var normal small
	var right [maxSmall]complex128
	for a := range f.rank {
		for i := range f.pairs {
			for j := range f.pairs {
				product := cmplx.Conj(f.modes[i][a]) * complex(products[i+1][j+1], 0)
				for b := range f.rank {
					normal[a][b] += product * f.modes[j][b]
				}
				if j == f.pairs-1 {
					right[a] += product
				}
			}
		}
	}
	amplitudes, ok := solve(&normal, &right, f.rank)
	for i := range f.pairs {
		for a := range f.rank {
			f.modes[i][a] *= amplitudes[a]
		}
	}
	return ok
}

// weights sets list to the weights of Y_1 ... Y_n in the forecast k times their distance after the
// last: the modes times the k-th powers of their eigenvalues. It reports whether all are finite.
func (f *dmdFit) weights(list []float32, k float64) bool {
	var powers [maxSmall]complex128
	for a := range f.rank {
		if f.values[a] != 0 {
			powers[a] = cmplx.Pow(f.values[a], complex(k, 0))
		}
	}
	for i := range f.pairs {
		sum := complex128(0)
		for a := range f.rank {
			sum += f.modes[i][a] * powers[a]
		}
		w := float32(real(sum))
		if math.IsNaN(float64(w)) || math.IsInf(float64(w), 0) {
			return false
		}
		list[i] = w
	}
	return true
}
