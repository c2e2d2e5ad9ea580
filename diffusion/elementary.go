package diffusion

import "math"

// The functions here are sums, products and quotients in a fixed order, never fused, so that they
// give the same bits on every machine and under every release of Go, which the functions of package
// math do not promise.

// ln is the natural logarithm of a positive normal number, to within a few units in the last place.
func ln(x float64) float64 {
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m *= 2
		e--
	}
	// ln m = 2 artanh s = 2s (1 + s^2/3 + s^4/5 + ...), |s| < 0.172.
	s := (m - 1) / (m + 1)
	series := horner(s*s, []float64{1, 1. / 3, 1. / 5, 1. / 7, 1. / 9, 1. / 11, 1. / 13, 1. / 15, 1. / 17, 1. / 19, 1. / 21})
	return float64(float64(e)*math.Ln2) + float64(2*s*series)
}

// sincosTurns is the sine and cosine of an angle of u turns, 0 <= u < 1.
func sincosTurns(u float64) (sin, cos float64) {
	quarter := math.Floor(float64(4*u) + 0.5)
	a := (4*u - quarter) * (math.Pi / 2) // |a| <= pi/4; the difference is exact
	z := a * a
	s := a * horner(z, []float64{1, -1. / 6, 1. / 120, -1. / 5040, 1. / 362880, -1. / 39916800,
		1. / 6227020800, -1. / 1307674368000, 1. / 355687428096000})
	c := horner(z, []float64{1, -1. / 2, 1. / 24, -1. / 720, 1. / 40320, -1. / 3628800,
		1. / 479001600, -1. / 87178291200, 1. / 20922789888000})
	switch int(quarter) & 3 {
	case 1:
		return c, -s
	case 2:
		return -s, -c
	case 3:
		return -c, s
	}
	return s, c
}

// horner is coefs[0] + coefs[1]*x + coefs[2]*x^2 + ...
func horner(x float64, coefs []float64) float64 {
	sum := 0.0
	for k := len(coefs) - 1; k >= 0; k-- {
		sum = float64(sum*x) + coefs[k]
	}
	return sum
}
