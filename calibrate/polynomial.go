package calibrate

import (
	"errors"
	"math"
	"slices"
)

// polynomial returns the coefficients, that of degree 0 first, of the polynomial of at most the
// given degree that fits y at x best by least squares, and the root mean square of the residuals.
// The degree is lower where there are too few different x.
func polynomial(x, y []float64, degree int) (coefficients []float64, rms float64, err error) {
	largest := 0.0
	for i := range x {
		if math.IsNaN(x[i]+y[i]) || math.IsInf(x[i]+y[i], 0) {
			return nil, 0, errors.New("a change that is not a number")
		}
		largest = max(largest, math.Abs(x[i]))
	}
	if len(x) == 0 || largest == 0 {
		return nil, 0, errors.New("no changes to fit to: give more steps")
	}
	for ; degree >= 0; degree-- {
		// In x/largest, whose powers are of one size.
		n := degree + 1
		a, b := make([][]float64, n), make([]float64, n)
		for i := range a {
			a[i] = make([]float64, n)
		}
		powers := make([]float64, n)
		for i := range x {
			power := 1.0
			for k := range powers {
				powers[k] = power
				power *= x[i] / largest
			}
			for j, u := range powers {
				b[j] += u * y[i]
				for k, v := range powers {
					a[j][k] += u * v
				}
			}
		}
		c, ok := solveSymmetric(a, b)
		if !ok {
			continue
		}
		scale := 1.0
		for k := range c {
			c[k] /= scale
			scale *= largest
		}
		for i := range x {
			value := 0.0
			for _, v := range slices.Backward(c) {
				value = value*x[i] + v
			}
			rms += (value - y[i]) * (value - y[i])
		}
		return c, math.Sqrt(rms / float64(len(x))), nil
	}
	return nil, 0, errors.New("no polynomial fits")
}

// solveSymmetric solves a·c = b by Cholesky's decomposition, which overwrites a; ok is false if a
// is singular to rounding. It is not gonum's, which sums in another order: policies would no longer
// be reproduced to the bit.
func solveSymmetric(a [][]float64, b []float64) (c []float64, ok bool) {
	const singular = 1e-12 // bound of a pivot, relative to the diagonal
	n := len(b)
	for i := range n {
		for j := range i + 1 {
			sum := a[i][j]
			for k := range j {
				sum -= a[i][k] * a[j][k]
			}
			if i > j {
				a[i][j] = sum / a[j][j]
				continue
			}
			if !(sum > singular*a[i][i]) {
				return nil, false
			}
			a[i][i] = math.Sqrt(sum)
		}
	}
	c = slices.Clone(b)
	for i := range n {
		for k := range i {
			c[i] -= a[i][k] * c[k]
		}
		c[i] /= a[i][i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			c[i] -= a[k][i] * c[k]
		}
		c[i] /= a[i][i]
	}
	return c, true
}
