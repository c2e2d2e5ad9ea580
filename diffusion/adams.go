package diffusion

import "math"

// deis returns DEIS of Zhang and Chen 2023 (arXiv 2204.13902): the noise extrapolated by a
// polynomial in log-SNR, integrated exactly.
func (s Sampling) deis(schedule Schedule) (*Multistep, error) {
	g, err := s.grid(schedule, multistepRule)
	if err != nil {
		return nil, err
	}
	m := s.newMultistep(g, predictedNoise, s.order())
	for k := range g.points {
		for order := 1; order <= s.orderAt(k, len(g.points), shortRun); order++ {
			m.add(k, order-1, exponential(predictedNoise, g.level(k), g.level(k+1), g.past(k, order), exactMoments))
		}
	}
	return m, nil
}

// leap is how many times longer than the step before it a step may be. To extrapolate further would
// multiply rounding errors by its powers; only steps to no noise go as far.
const leap = 10

// lms returns the linear multistep method of Karras et al.'s code: the noise extrapolated by a
// polynomial in Sigma/Alpha, integrated exactly.
func (s Sampling) lms(schedule Schedule) (*Multistep, error) {
	g, err := s.grid(schedule, sigmaRule)
	if err != nil {
		return nil, err
	}
	m := s.newMultistep(g, predictedNoise, s.order())
	m.start = s.sigmaStart(g)
	for k := range g.points {
		from, to := g.level(k), g.level(k+1)
		h := to.ratio() - from.ratio()
		for order := 1; order <= s.order(); order++ {
			distinct := len(g.past(k, order))
			if distinct > 1 && math.Abs(h) > leap*(g.level(k-1).ratio()-from.ratio()) {
				distinct = 1
			}
			w := firstOrder(predictedNoise, from, to)
			if distinct > 1 && len(w.past) > 0 {
				nodes, moments := make([]float64, distinct), make([]float64, distinct)
				for j := range nodes {
					nodes[j] = (g.level(k-j).ratio() - from.ratio()) / h
					moments[j] = 1 / float64(j+1)
				}
				w.past = quadrature(nodes, moments)
				for j := range w.past {
					w.past[j] *= to.Alpha * h
				}
			}
			m.add(k, order-1, w)
		}
	}
	return m, nil
}
