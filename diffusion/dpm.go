package diffusion

import "math"

// shortRun is the number of steps from which on diffusers' solvers keep their order to the end.
const shortRun = 15

// dpm returns the multistep solvers of Lu et al.: DPM-Solver (arXiv 2206.00927) on the predicted
// noise, DPM-Solver++ (arXiv 2211.01095) on the predicted x_0, and the stochastic form of each
// (the latter's appendix), with the coefficients of diffusers.
func (s Sampling) dpm(schedule Schedule) (*Multistep, error) {
	g, err := s.grid(schedule, multistepRule)
	if err != nil {
		return nil, err
	}
	keeps := predictedX0
	if s.Sampler == "dpm" || s.Sampler == "sde-dpm" {
		keeps = predictedNoise
	}
	moments := midpointMoments
	if s.Variant == "heun" {
		moments = heunMoments
	}
	m := s.newMultistep(g, keeps, s.order())
	m.noisy = s.Sampler == "sde-dpm++" || s.Sampler == "sde-dpm"
	for k := range g.points {
		for order := 1; order <= s.orderAt(k, len(g.points), shortRun); order++ {
			from, to, lambdas := g.level(k), g.level(k+1), g.past(k, order)
			var w weights
			switch s.Sampler {
			case "sde-dpm++":
				w = stochasticX0(from, to, lambdas, moments)
			case "sde-dpm":
				w = stochasticNoise(from, to, lambdas, moments)
			default:
				w = exponential(keeps, from, to, lambdas, moments)
			}
			m.add(k, order-1, w)
		}
	}
	return m, nil
}

// heunMoments are exact for a straight line. Of a parabola, diffusers' third order counts the
// curvature half.
func heunMoments(n int, z float64) []float64 {
	moments := make([]float64, n)
	for k := range moments {
		moments[k] = phi(k+1, z)
	}
	return moments
}

// midpointMoments take the prediction at half the step's log-SNR for all of it. It is only the
// second order that has this choice.
func midpointMoments(n int, z float64) []float64 {
	moments := heunMoments(n, z)
	if n == 2 {
		moments[1] = moments[0] / 2
	}
	return moments
}

// stochasticX0 returns a step of SDE-DPM-Solver++. Its exponential has twice the rate of the
// deterministic solver's, and noise makes up for what decays too much.
func stochasticX0(from, to Level, lambdas []float64, moments momentsOf) weights {
	h := to.LogSNR() - lambdas[0]
	if h < noStep {
		return weights{x: 1}
	}
	grown := -math.Expm1(-2 * h)
	w := weights{
		x:     to.Sigma / from.Sigma * math.Exp(-h),
		noise: to.Sigma * math.Sqrt(grown),
		past:  []float64{to.Alpha * grown},
	}
	if len(lambdas) > 1 {
		doubled := func(n int, z float64) []float64 {
			m := moments(n, 2*z)
			if n == 3 {
				// In place of phi_3 = (1/2 - phi_2)/(2h) diffusers subtracts the half here too.
				m[2] = (-0.5 - phi(2, 2*z)) / (-2 * z)
			}
			return m
		}
		w.past = exponential(predictedX0, from, to, lambdas, doubled).past
		for j := range w.past {
			w.past[j] *= 2
		}
	}
	return w
}

// stochasticNoise returns a step of SDE-DPM-Solver. Where no noise is left at its end it is the
// deterministic one, since the stochastic one would add as much noise as there was. From noise
// alone, where its prediction of noise says nothing, all of the noise is new.
func stochasticNoise(from, to Level, lambdas []float64, moments momentsOf) weights {
	if from.Alpha == 0 {
		return weights{x0: to.Alpha, noise: to.Sigma}
	}
	w := exponential(predictedNoise, from, to, lambdas, moments)
	if h := to.LogSNR() - lambdas[0]; to.Sigma > 0 && h >= noStep {
		w.noise = to.Sigma * math.Sqrt(math.Expm1(2*h))
		for j := range w.past {
			w.past[j] *= 2
		}
	}
	return w
}
