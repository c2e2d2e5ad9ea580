package eval

import "math"

// BinomialCDF returns the probability of at most k successes in n independent trials that succeed
// with probability p each.
func BinomialCDF(k, n int, p float64) float64 {
	switch {
	case k < 0:
		return 0
	case k >= n || p <= 0:
		return 1
	case p >= 1:
		return 0
	}
	lgamma := func(x int) float64 {
		v, _ := math.Lgamma(float64(x))
		return v
	}
	sum := 0.0
	for i := range k + 1 {
		choose := lgamma(n+1) - lgamma(i+1) - lgamma(n-i+1)
		sum += math.Exp(choose + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return min(1, sum)
}

// ClopperPearson returns the interval that holds a probability with the given confidence, of which
// k successes in n trials were seen: the exact one (Clopper and Pearson, Biometrika 26, 1934).
func ClopperPearson(k, n int, confidence float64) (low, high float64) {
	tail := (1 - confidence) / 2
	// Both bounds are where a probability that falls in p reaches a value.
	solve := func(probability func(p float64) float64, value float64) float64 {
		low, high := 0.0, 1.0
		for range 60 {
			if mid := (low + high) / 2; probability(mid) > value {
				low = mid
			} else {
				high = mid
			}
		}
		return (low + high) / 2
	}
	high = 1
	if k > 0 {
		low = solve(func(p float64) float64 { return BinomialCDF(k-1, n, p) }, 1-tail)
	}
	if k < n {
		high = solve(func(p float64) float64 { return BinomialCDF(k, n, p) }, tail)
	}
	return low, high
}

// ToleranceRank returns the largest k of which the k-th smallest of n values is, with the given
// confidence, exceeded or met by at least a share coverage of all values: a distribution-free
// tolerance limit (Wilks 1941), as the share below it has the distribution Beta(k, n+1-k). It is 0
// if n is too small for any.
func ToleranceRank(n int, coverage, confidence float64) int {
	k := 0
	for k < n && BinomialCDF(k, n, 1-coverage) <= 1-confidence {
		k++
	}
	return k
}
