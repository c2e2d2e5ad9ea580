package train

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/diffusion"
)

// Objective is the loss of a denoiser, as in DiT's code: the mean squared error of the predicted
// noise, plus, if the variance is learned, the variational bound at the sampled timestep, which
// does not train the mean (Nichol and Dhariwal 2021, arXiv 2102.09672, section 3.1). An Objective
// is immutable and may be shared.
type Objective struct {
	Process    *diffusion.Process // all timesteps of the schedule
	LearnSigma bool

	// MinSNR weights the noise's error by min(SNR, MinSNR)/SNR (Hang et al. 2023, arXiv
	// 2303.09556); 0: no weighting.
	MinSNR float64

	logVariance, logBeta []float64 // by timestep; logVariance[0] repeats logVariance[1]
	weight               []float64
}

// NewObjective returns the objective on the linear schedule of 1000 timesteps.
func NewObjective(learnSigma bool, minSNR float64) (*Objective, error) {
	if minSNR < 0 || math.IsNaN(minSNR) {
		return nil, fmt.Errorf("min-SNR of %g: want a positive number, such as 5, or 0 for none", minSNR)
	}
	schedule, err := diffusion.Linear(diffusion.Timesteps)
	if err != nil {
		return nil, err
	}
	p, err := diffusion.NewProcess(schedule, "")
	if err != nil {
		return nil, err
	}
	o := &Objective{Process: p, LearnSigma: learnSigma, MinSNR: minSNR}
	for t := range p.Steps() {
		o.logVariance = append(o.logVariance, math.Log(p.PosteriorVariance(max(t, 1))))
		o.logBeta = append(o.logBeta, math.Log(p.Beta(t)))
		w := 1.0
		if minSNR > 0 {
			snr := p.AlphaCumprod(t) / (1 - p.AlphaCumprod(t))
			w = math.Min(snr, minSNR) / snr
		}
		o.weight = append(o.weight, w)
	}
	return o, nil
}

// Loss is the loss of one sample.
type Loss struct {
	Total float64 // MSE, weighted, + VB
	MSE   float64 // of the noise
	VB    float64 // variational bound in bits per dimension, if the variance is learned
}

// Example is one training example: data with noise, as the model saw it.
type Example struct {
	T              int       // of a noise schedule
	timestep       float64   // of a flow
	XStart, Noise  []float32 // [C*HW]
	X              []float32 // [C*HW]: XStart with Noise at timestep T
	mean, trueMean []float32 // scratch of the bound
}

// Loss returns the loss of s for the network's output, [C*HW] or, with learned variance, [2*C*HW],
// and sets grad, of the same length, to scale times the loss's gradient.
func (o *Objective) Loss(grad, out []float32, s *Example, scale float64) Loss {
	n := len(s.X)
	var l Loss
	for i, eps := range out[:n] {
		d := float64(eps) - float64(s.Noise[i])
		l.MSE += d * d
		grad[i] = float32(scale * o.weight[s.T] * 2 * d / float64(n))
	}
	l.MSE /= float64(n)
	if o.LearnSigma {
		l.VB = o.bound(grad[n:], out, s, scale)
	}
	l.Total = o.weight[s.T]*l.MSE + l.VB
	return l
}

// bound returns the variational bound's term at s.T and sets grad to scale times its gradient with
// respect to the variance values, the second half of out. The term is the KL divergence of the
// model's distribution of x_{t-1} from the true posterior, and at timestep 0 the negative
// log-likelihood of the data's 256 grey levels.
func (o *Objective) bound(grad, out []float32, s *Example, scale float64) float64 {
	n, t := len(s.X), s.T
	if len(s.mean) != n {
		s.mean, s.trueMean = make([]float32, n), make([]float32, n)
	}
	o.Process.PosteriorMean(s.trueMean, s.XStart, s.X, t)
	alpha := o.Process.AlphaCumprod(t)
	recip, recipm1 := float32(math.Sqrt(1/alpha)), float32(math.Sqrt(1/alpha-1))
	for i, eps := range out[:n] {
		s.mean[i] = recip*s.X[i] - recipm1*eps
	}
	o.Process.PosteriorMean(s.mean, s.mean, s.X, t)

	low, high := o.logVariance[t], o.logBeta[t]
	perBit := 1 / (math.Ln2 * float64(n))
	total := 0.0
	for i, v := range out[n:] {
		share := (float64(v) + 1) / 2
		logVar := share*high + (1-share)*low
		var value, slope float64 // slope is d value / d logVar
		if t > 0 {
			value, slope = normalKL(float64(s.trueMean[i]), low, float64(s.mean[i]), logVar)
		} else {
			value, slope = greyLevelNLL(s.XStart[i], s.mean[i], logVar)
		}
		total += value * perBit
		grad[i] = float32(scale * slope * (high - low) / 2 * perBit)
	}
	return total
}

// normalKL returns, in nats, the KL divergence of the normal distribution with mean2 and logVar2
// from the one with mean1 and logVar1, and its derivative with respect to logVar2.
func normalKL(mean1, logVar1, mean2, logVar2 float64) (kl, slope float64) {
	d := mean1 - mean2
	ratio, distance := math.Exp(logVar1-logVar2), d*d*math.Exp(-logVar2)
	return 0.5 * (-1 + logVar2 - logVar1 + ratio + distance), 0.5 * (1 - ratio - distance)
}

// minProbability bounds logarithms.
const minProbability = 1e-12

// greyLevelNLL returns, in nats, the negative log-likelihood of x, one of 256 levels in [-1,1],
// under the normal distribution with mean and logVar, integrated over the level, and its derivative
// with respect to logVar. The outermost levels extend to infinity. Probabilities are rounded to
// float32 as in the public code, so those of the far tails are 0 and have no gradient.
func greyLevelNLL(x, mean float32, logVar float64) (nll, slope float64) {
	inverse := float32(math.Exp(-0.5 * logVar))
	upper, lower := inverse*(x-mean+1.0/255), inverse*(x-mean-1.0/255)
	above, aboveSlope := normalCDF(upper)
	below, belowSlope := normalCDF(lower)
	// The derivative of an argument with respect to logVar is -1/2 times the argument.
	aboveSlope, belowSlope = -0.5*float64(upper)*aboveSlope, -0.5*float64(lower)*belowSlope
	p, dp := above-below, aboveSlope-belowSlope
	switch {
	case x < -0.999:
		p, dp = above, aboveSlope
	case x > 0.999:
		p, dp = 1-below, -belowSlope
	}
	if p < minProbability {
		return -math.Log(minProbability), 0
	}
	return -math.Log(float64(p)), -dp / float64(p)
}

// normalCDF returns the tanh approximation of the standard normal distribution function, and its
// derivative.
func normalCDF(x float32) (p float32, slope float64) {
	const c = 0.7978845608028654 // sqrt(2/pi)
	y := float32(math.Tanh(float64(float32(c * (x + float32(0.044715*float32(x*x*x)))))))
	return 0.5 * (1 + y), 0.5 * float64(1-float32(y*y)) * c * (1 + 3*0.044715*float64(x)*float64(x))
}
