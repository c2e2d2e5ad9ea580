package diffusion

import "math"

// Variance is where DDPM takes the variance of a step from.
type Variance int

const (
	// LearnedRange interpolates, in the logarithm, between the posterior's variance and beta by the
	// values that the model outputs after epsilon: -1 is the former, 1 the latter (Nichol and
	// Dhariwal 2021, equation 15).
	LearnedRange Variance = iota
	// FixedSmall is the posterior's variance.
	FixedSmall
	// FixedLarge is beta, but the posterior's variance of index 1 at index 0.
	FixedLarge
)

// VarianceOf is the published code's choice: LearnedRange for a model that outputs variance values,
// else FixedLarge.
func VarianceOf(learned bool) Variance {
	if learned {
		return LearnedRange
	}
	return FixedLarge
}

// DDPM is ancestral sampling: Ho et al. 2020, algorithm 2, on a respaced process.
type DDPM struct {
	*Process
	Variance     Variance
	ClipDenoised bool // clamp every predicted x_0 to [-1, 1]
}

// DrawsNoise reports true.
func (DDPM) DrawsNoise() bool { return true }

func (d DDPM) step(t *Trajectory, i int, out, noise []float32) {
	n := len(t.x)
	if d.Variance == LearnedRange {
		checkLength("model output with learned variance", len(out), 2*n)
	}
	d.predictXStart(t.x0, t.x, out[:n], i, d.ClipDenoised)
	d.PosteriorMean(t.x, t.x0, t.x, i)
	if i == 0 {
		return
	}
	checkLength("noise", len(noise), n)
	switch d.Variance {
	case LearnedRange:
		low, high := float32(d.posteriorLogClipped[i]), float32(math.Log(d.betas[i]))
		for k, v := range out[n:] {
			frac := (v + 1) / 2
			logVariance := float32(frac*high) + float32((1-frac)*low)
			t.x[k] += float32(deviation(logVariance) * noise[k])
		}
	case FixedSmall:
		combine(t.x, 1, t.x, deviation(float32(d.posteriorLogClipped[i])), noise)
	case FixedLarge:
		combine(t.x, 1, t.x, deviation(float32(math.Log(d.betas[i]))), noise)
	}
}

func deviation(logVariance float32) float32 {
	return float32(math.Exp(float64(0.5 * logVariance)))
}
