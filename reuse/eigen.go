package reuse

import (
	"math"
	"math/cmplx"
)

// maxSmall is the order of a small matrix.
const maxSmall = 7

// small is a matrix of order n up to maxSmall, of which the first n rows and columns count. It is
// an array, so that its users allocate nothing.
type small [maxSmall][maxSmall]complex128

// rotation is the unitary map of two numbers x and y to c·x + s·y and -conj(s)·x + c·y.
type rotation struct {
	c float64
	s complex128
}

// rotationOf returns the rotation that turns y to 0.
func rotationOf(x, y complex128) rotation {
	a, b := cmplx.Abs(x), cmplx.Abs(y)
	switch {
	case b == 0:
		return rotation{c: 1}
	case a == 0:
		return rotation{s: cmplx.Conj(y) / complex(b, 0)}
	}
	norm := math.Hypot(a, b)
	return rotation{c: a / norm, s: x / complex(a, 0) * cmplx.Conj(y) / complex(norm, 0)}
}

// rows applies the rotation to rows i and i+1 of m.
func (r rotation) rows(m *small, n, i int) {
	c := complex(r.c, 0)
	for j := range n {
		x, y := m[i][j], m[i+1][j]
		m[i][j], m[i+1][j] = c*x+r.s*y, c*y-cmplx.Conj(r.s)*x
	}
}

// columns applies the inverse of the rotation to columns i and i+1 of m.
func (r rotation) columns(m *small, n, i int) {
	c := complex(r.c, 0)
	for j := range n {
		x, y := m[j][i], m[j][i+1]
		m[j][i], m[j][i+1] = c*x+cmplx.Conj(r.s)*y, c*y-r.s*x
	}
}

// schur turns t, of order n, into the upper triangular matrix u with t = q·u·q*, for a unitary q,
// by the QR algorithm with shifts. It reports whether that converged.
func schur(t *small, n int) (q small, ok bool) {
	for i := range n {
		q[i][i] = 1
	}
	for j := range n - 2 { // to Hessenberg form
		for i := n - 2; i > j; i-- {
			r := rotationOf(t[i][j], t[i+1][j])
			r.rows(t, n, i)
			r.columns(t, n, i)
			r.columns(&q, n, i)
			t[i+1][j] = 0
		}
	}
	const epsilon, most = 0x1p-52, 40 // iterations for an eigenvalue
	hi, iterations := n-1, 0
	for hi > 0 {
		lo := hi
		for lo > 0 {
			if size := cmplx.Abs(t[lo][lo]) + cmplx.Abs(t[lo-1][lo-1]); cmplx.Abs(t[lo][lo-1]) <= epsilon*size {
				t[lo][lo-1] = 0
				break
			}
			lo--
		}
		if lo == hi {
			hi, iterations = hi-1, 0
			continue
		}
		if iterations++; iterations > most {
			return q, false
		}
		mu := shift(t, hi)
		if iterations%10 == 0 { // an exceptional one, against cycles
			mu = t[hi][hi] + complex(cmplx.Abs(t[hi][hi-1]), 0)
		}
		for i := range n {
			t[i][i] -= mu
		}
		var rotations [maxSmall]rotation
		for i := lo; i < hi; i++ {
			rotations[i] = rotationOf(t[i][i], t[i+1][i])
			rotations[i].rows(t, n, i)
		}
		for i := lo; i < hi; i++ {
			rotations[i].columns(t, n, i)
			rotations[i].columns(&q, n, i)
		}
		for i := range n {
			t[i][i] += mu
		}
	}
	return q, true
}

// shift returns the eigenvalue of the two by two matrix that ends at i that is nearer to t[i][i].
func shift(t *small, i int) complex128 {
	a, b, c, d := t[i-1][i-1], t[i-1][i], t[i][i-1], t[i][i]
	mean, half := (a+d)/2, (a-d)/2
	root := cmplx.Sqrt(half*half + b*c)
	if cmplx.Abs(mean+root-d) < cmplx.Abs(mean-root-d) {
		return mean + root
	}
	return mean - root
}

// eigen returns the eigenvalues of a, of order n, and in the columns of vectors their eigenvectors.
func eigen(a *small, n int) (values [maxSmall]complex128, vectors small, ok bool) {
	t := *a
	q, ok := schur(&t, n)
	if !ok {
		return values, vectors, false
	}
	norm := 0.0
	for i := range n {
		values[i] = t[i][i]
		for j := i; j < n; j++ {
			norm = max(norm, cmplx.Abs(t[i][j]))
		}
	}
	for k := range n {
		var y [maxSmall]complex128
		y[k] = 1
		for i := k - 1; i >= 0; i-- {
			sum := complex128(0)
			for j := i + 1; j <= k; j++ {
				sum += t[i][j] * y[j]
			}
			gap := t[k][k] - t[i][i]
			if least := max(0x1p-52*norm, 0x1p-1000); cmplx.Abs(gap) < least {
				gap = complex(least, 0) // of an eigenvalue that occurs more than once
			}
			y[i] = sum / gap
		}
		size := 0.0
		for _, v := range y {
			size = math.Hypot(size, cmplx.Abs(v))
		}
		for i := range n {
			for j := range k + 1 {
				vectors[i][k] += q[i][j] * y[j] / complex(size, 0)
			}
		}
	}
	return values, vectors, true
}

// eigenSymmetric returns the eigenvalues of the real symmetric matrix a, of order n, from the
// largest on, and in the columns of vectors their eigenvectors, by Jacobi's method.
func eigenSymmetric(
	a *[maxSmall][maxSmall]float64, n int,
) (values [maxSmall]float64, vectors [maxSmall][maxSmall]float64) {
	m := *a
	for i := range n {
		vectors[i][i] = 1
	}
	for range 30 { // sweeps: fewer than ten are needed
		off, diagonal := 0.0, 0.0
		for i := range n {
			diagonal += m[i][i] * m[i][i]
			for j := range i {
				off += m[i][j] * m[i][j]
			}
		}
		if off <= 1e-36*diagonal {
			break
		}
		for p := range n {
			for q := p + 1; q < n; q++ {
				if m[p][q] == 0 {
					continue
				}
				theta := (m[q][q] - m[p][p]) / (2 * m[p][q])
				tan := math.Copysign(1, theta) / (math.Abs(theta) + math.Hypot(theta, 1))
				cos := 1 / math.Hypot(tan, 1)
				sin := tan * cos
				turn := func(x, y float64) (float64, float64) { return cos*x - sin*y, sin*x + cos*y }
				for k := range n {
					m[k][p], m[k][q] = turn(m[k][p], m[k][q])
					vectors[k][p], vectors[k][q] = turn(vectors[k][p], vectors[k][q])
				}
				for k := range n {
					m[p][k], m[q][k] = turn(m[p][k], m[q][k])
				}
			}
		}
	}
	for i := range n {
		values[i] = m[i][i]
	}
	for i := range n { // in order
		best := i
		for j := i + 1; j < n; j++ {
			if values[j] > values[best] {
				best = j
			}
		}
		values[i], values[best] = values[best], values[i]
		for k := range n {
			vectors[k][i], vectors[k][best] = vectors[k][best], vectors[k][i]
		}
	}
	return values, vectors
}

// solve returns the solution x of a·x = b, of order n, by elimination with pivots. It reports
// whether there is one.
func solve(a *small, b *[maxSmall]complex128, n int) (x [maxSmall]complex128, ok bool) {
	m := *a
	x = *b
	for i := range n {
		pivot := i
		for j := i + 1; j < n; j++ {
			if cmplx.Abs(m[j][i]) > cmplx.Abs(m[pivot][i]) {
				pivot = j
			}
		}
		if size := cmplx.Abs(m[pivot][i]); size == 0 || math.IsNaN(size) {
			return x, false
		}
		m[i], m[pivot], x[i], x[pivot] = m[pivot], m[i], x[pivot], x[i]
		for j := i + 1; j < n; j++ {
			factor := m[j][i] / m[i][i]
			for k := i; k < n; k++ {
				m[j][k] -= factor * m[i][k]
			}
			x[j] -= factor * x[i]
		}
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			x[i] -= m[i][k] * x[k]
		}
		x[i] /= m[i][i]
	}
	return x, true
}
