package diffusion

import "math"

// unipc returns the predictor-corrector of Zhao et al. 2023 (arXiv 2302.04867), as in diffusers:
// the prediction of a step also corrects the step that led to its sample, and the next step starts
// from the corrected sample. The network is not run again there.
func (s Sampling) unipc(schedule Schedule) (*Multistep, error) {
	g, err := s.grid(schedule, multistepRule)
	if err != nil {
		return nil, err
	}
	uncorrected, err := s.uncorrected()
	if err != nil {
		return nil, err
	}
	return s.unipcOn(g, uncorrected), nil
}

// unipcOn returns the solver on a grid.
func (s Sampling) unipcOn(g grid, uncorrected map[int]bool) *Multistep {
	keeps := predictedX0
	if s.Predict == PredictEps {
		keeps = predictedNoise
	}
	n := len(g.points)
	m := s.newMultistep(g, keeps, s.order()+1)
	m.holds = true
	for k := range g.points {
		// A step of each order, and one more, before which the correction is of the highest.
		for past := 0; past <= min(s.order(), k); past++ {
			order := min(past+1, s.orderAt(k, n, n+1))
			w := exponential(keeps, g.level(k), g.level(k+1), g.past(k, order), s.unipcMoments)
			m.add(k, past, w)
			if past == 0 || uncorrected[k-1] {
				continue
			}
			if c, ok := s.correction(g, keeps, k, min(past, s.orderAt(k-1, n, n+1))); ok {
				to := c.slotted(k, m.slots)
				m.steps[k].moves[past].correct = &to
			}
		}
	}
	return m
}

// correction returns the step from point k-1 to point k through the prediction at the latter and at
// up to order points from the former back. There is none if the points are the same,
// or infinitely far apart.
func (s Sampling) correction(g grid, keeps predicted, k, order int) (weights, bool) {
	now, lambdas := g.level(k).LogSNR(), g.past(k-1, order)
	if now-lambdas[0] < noStep || math.IsInf(lambdas[0], -1) {
		return weights{}, false
	}
	w := exponential(keeps, g.level(k-1), g.level(k), append(lambdas, now), s.unipcMoments)
	newest := len(w.past) - 1
	w.past = append([]float64{w.past[newest]}, w.past[:newest]...)
	return w, true
}

// unipcMoments are exact but where a straight line is all that is known, where they are those of
// the paper's B_1 or B_2.
func (s Sampling) unipcMoments(n int, z float64) []float64 {
	moments := exactMoments(n, z)
	if n == 2 {
		moments[1] = moments[0] / 2
		if s.Variant == "bh1" {
			moments[1] = 0.5
		}
	}
	return moments
}
