package diffusion

import "math"

// A step of an exponential integrator takes x from one level to another, with the model's
// prediction m along the way replaced by a polynomial in theta, 0 at the start of the step and 1 at
// its end. With h the growth of log-SNR and z = -h for predictions of x_0, h for those of noise,
//
//	x_0:    x' = (Sigma'/Sigma) x + Alpha' h * integral of exp((1-theta) z) m(theta)
//	noise:  x' = (Alpha'/Alpha) x - Sigma' h * integral of exp((1-theta) z) m(theta)
//
// exactly (Lu et al. 2022, arXiv 2211.01095, equation 8). The integral of theta^k is k!
// phi_{k+1}(z). Solvers differ in the nodes of the polynomial, and in what they put in place of
// these moments.

// phi returns phi_k(z) of exponential integrators, the integral over [0,1] of
// exp((1-u) z) u^(k-1)/(k-1)!: phi_1 = (e^z-1)/z, phi_{k+1} = (phi_k - 1/k!)/z.
func phi(k int, z float64) float64 {
	factorial := 1.0
	for j := 2; j <= k; j++ {
		factorial *= float64(j)
	}
	if math.Abs(z) < 1 { // where the recursion cancels: sum of z^j/(j+k)!
		sum, term := 0.0, 1/factorial
		for j := 1; j <= 20; j++ {
			sum += term
			term *= z / float64(j+k)
		}
		return sum
	}
	value := math.Expm1(z) / z
	inverse := 1.0
	for j := 1; j < k; j++ {
		value = (value - inverse) / z
		inverse /= float64(j + 1)
	}
	return value
}

// exactMoments returns k! phi_{k+1}(z) for k below n.
func exactMoments(n int, z float64) []float64 {
	moments, factorial := make([]float64, n), 1.0
	for k := range moments {
		if k > 1 {
			factorial *= float64(k)
		}
		moments[k] = factorial * phi(k+1, z)
	}
	return moments
}

// quadrature returns the weights w of values m at nodes, such that sum w_j m_j is the sum of
// moments[k]*c_k, where c_k is the coefficient of theta^k in the polynomial through the values.
// There are as many moments as nodes, which differ.
func quadrature(nodes, moments []float64) []float64 {
	weights := make([]float64, len(nodes))
	for j, node := range nodes {
		// The coefficients of Lagrange's polynomial of node j, built up factor by factor.
		coefs := make([]float64, 1, len(nodes))
		coefs[0] = 1
		for i, other := range nodes {
			if i == j {
				continue
			}
			coefs = append(coefs, 0)
			for k := len(coefs) - 1; k >= 0; k-- {
				below := 0.0
				if k > 0 {
					below = coefs[k-1]
				}
				coefs[k] = (below - other*coefs[k]) / (node - other)
			}
		}
		for k, c := range coefs {
			weights[j] += c * moments[k]
		}
	}
	return weights
}
