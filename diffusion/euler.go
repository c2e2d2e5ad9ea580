package diffusion

import (
	"math"
	"slices"
	"strings"
)

// The samplers of Karras et al. 2022 (arXiv 2206.00364) move x/Alpha by Sigma/Alpha, their sigma.

// sigmaStart returns what standard normal noise is multiplied by to start them. diffusers starts
// from noise alone, without what little data there is at the first level, where that is the last of
// the schedule.
func (s Sampling) sigmaStart(g grid) float32 {
	ours := !named(s.Spacing) || s.Spacing == spacingLogSNR || s.Spacing == spacingQuadratic
	if ours || strings.HasPrefix(s.Spacing, "leading") || g.plain {
		return startOf(g)
	}
	return float32(g.level(0).Sigma)
}

// euler returns Euler's method: DDIM, but for its timesteps. On a flow it moves x by t.
func (s Sampling) euler(schedule Schedule) (*Multistep, error) {
	if schedule.IsFlow() {
		return s.flowEuler(schedule)
	}
	g, err := s.grid(schedule, sigmaRule)
	if err != nil {
		return nil, err
	}
	m := s.newMultistep(g, predictedNoise, 1)
	m.start = s.sigmaStart(g)
	for k := range g.points {
		m.add(k, 0, firstOrder(predictedNoise, g.level(k), g.level(k+1)))
	}
	return m, nil
}

// eulerAncestral returns Euler's method to less noise than that of the next step, which adds the
// rest anew.
func (s Sampling) eulerAncestral(schedule Schedule) (*Multistep, error) {
	g, err := s.grid(schedule, sigmaRule)
	if err != nil {
		return nil, err
	}
	m := s.newMultistep(g, predictedNoise, 1)
	m.start, m.noisy = s.sigmaStart(g), true
	for k := range g.points {
		from, to := g.level(k), g.level(k+1)
		a, b := from.ratio(), to.ratio()
		up := b / a * math.Sqrt(max(0, a*a-b*b))
		down := math.Sqrt(max(0, b*b-up*up))
		w := firstOrder(predictedNoise, from, to)
		switch {
		case from.Alpha == 0: // all of the noise is new
			w = weights{x0: to.Alpha, noise: to.Sigma}
		case len(w.past) > 0:
			w.past[0], w.noise = to.Alpha*(down-a), to.Alpha*up
		}
		m.add(k, 0, w)
	}
	return m, nil
}

// heun returns Heun's method: Euler's guess of the next point, and then the step again with the
// mean of the predictions at both ends. The last step is Euler's, so that n steps evaluate 2n-1
// times.
//
// On a flow it moves x by t.
func (s Sampling) heun(schedule Schedule) (*Multistep, error) {
	if schedule.IsFlow() {
		return s.flowHeun(schedule)
	}
	g, err := s.grid(schedule, sigmaRule)
	if err != nil {
		return nil, err
	}
	doubled := grid{end: g.end}
	for k, p := range g.points {
		if k > 0 {
			doubled.points = append(doubled.points, p)
		}
		doubled.points = append(doubled.points, p)
	}
	m := s.newMultistep(doubled, predictedNoise, 2)
	m.start, m.holds = s.sigmaStart(g), true
	for k := range g.points {
		w := firstOrder(predictedNoise, g.level(k), g.level(k+1))
		m.add(2*k, 0, w)
		if k+1 == len(g.points) {
			break
		}
		m.add(2*k+1, 0, weights{x: 1})
		if len(w.past) > 0 {
			w.past = slices.Repeat([]float64{w.past[0] / 2}, 2)
			m.add(2*k+1, 1, w)
			m.steps[2*k+1].moves[1].hold = true
		}
	}
	return m, nil
}
