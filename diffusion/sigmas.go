package diffusion

import (
	"math"
	"sort"
)

// curve is a way to space the noise-to-signal ratios of a run between two ends, whatever the
// timesteps: sigmas in the papers, and here.
type curve struct {
	// at returns n sigmas from high to low.
	at func(n int, low, high float64) []float64
	// truncates tells that solvers on whole timesteps truncate the timesteps of these sigmas, as
	// diffusers does, where those of the other curves are rounded.
	truncates bool
}

// curves are the curves that diffusers has. Its "lu", even in log-SNR (Lu et al. 2022), gives the
// same sigmas as "exponential" but rounds its timesteps.
var curves = map[string]curve{
	"karras":      {at: karras},
	"exponential": {at: exponentialSigmas, truncates: true},
	"lu":          {at: exponentialSigmas},
	"beta":        {at: betaSigmas, truncates: true},
}

// karras spaces sigma^(1/7) evenly: Karras et al. 2022 (arXiv 2206.00364), equation 5.
func karras(n int, low, high float64) []float64 {
	const rho = 7
	a, b := math.Pow(high, 1./rho), math.Pow(low, 1./rho)
	sigmas := evenly(a, b, n)
	for i, s := range sigmas {
		sigmas[i] = math.Pow(s, rho)
	}
	return sigmas
}

// exponentialSigmas spaces log sigma evenly.
func exponentialSigmas(n int, low, high float64) []float64 {
	sigmas := evenly(math.Log(high), math.Log(low), n)
	for i, s := range sigmas {
		sigmas[i] = math.Exp(s)
	}
	return sigmas
}

// betaSigmas puts sigma at even quantiles of a beta distribution between low and high: Lee et al.
// 2024 (arXiv 2407.12173).
func betaSigmas(n int, low, high float64) []float64 {
	sigmas := evenly(1, 0, n)
	for i, p := range sigmas {
		sigmas[i] = low + betaQuantile(p)*(high-low)
	}
	return sigmas
}

// evenly returns n numbers from first to last; one number is first.
func evenly(first, last float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = first
		if i > 0 {
			out[i] = first + (last-first)*(float64(i)/float64(n-1))
		}
	}
	return out
}

// timestepOf returns where a sigma lies among the rising sigmas of the timesteps, linearly in log
// sigma as in diffusers, clamped to them.
func timestepOf(sigmas []float64, sigma float64) float64 {
	high := min(max(sort.SearchFloat64s(sigmas, sigma), 1), len(sigmas)-1)
	a, b := math.Log(sigmas[high-1]), math.Log(sigmas[high])
	return float64(high-1) + min(max((math.Log(sigma)-a)/(b-a), 0), 1)
}

// betaQuantile returns the x at which the distribution function of Beta(0.6, 0.6) is p.
func betaQuantile(p float64) float64 {
	if p > 0.5 {
		return 1 - betaQuantile(1-p)
	}
	low, high := 0.0, 0.5
	for range 64 {
		if middle := (low + high) / 2; betaDistribution(middle) < p {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// betaDistribution returns the distribution function of Beta(0.6, 0.6) at 0 <= x <= 1/2: the
// regularized incomplete beta function by its hypergeometric series (DLMF 8.17.8), of positive
// terms that at least halve.
func betaDistribution(x float64) float64 {
	const shape = 0.6
	sum, term := 0.0, 1/shape
	for k := 0.0; term > 1e-18*sum; k++ {
		sum += term
		term *= x * (2*shape + k) / (shape + 1 + k)
	}
	one, _ := math.Lgamma(shape)
	two, _ := math.Lgamma(2 * shape)
	return math.Exp(shape*math.Log(x)+shape*math.Log1p(-x)+two-2*one) * sum
}
