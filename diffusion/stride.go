package diffusion

import (
	"math"
	"slices"
)

// strides gives the levels that diffusers' DDIM and PNDM move between.
type strides struct {
	grid
	// stride is how far a step goes in timesteps, whatever the next point is; 0 if to the next
	// point.
	stride int
	single []float64
}

// strides returns the points of s and where its steps go: with diffusers' spacings of timesteps, to
// the timestep a fixed stride below, which need not be the next point; else to the next point.
func (s Sampling) strides(schedule Schedule) (strides, error) {
	if !named(s.Spacing) || !slices.Contains(timestepSpacings, s.Spacing) {
		g, err := s.grid(schedule, multistepRule)
		return strides{grid: g}, err
	}
	g, err := s.grid(schedule, strideRule)
	if err != nil {
		return strides{}, err
	}
	return strides{g, schedule.Timesteps() / s.Steps, schedule.single}, nil
}

// at returns the level of a timestep, or the end below 0.
func (s strides) at(timestep int) Level {
	if timestep < 0 {
		return s.end
	}
	return levelAt(s.single[timestep])
}

// target returns the level to which the step at point k goes.
func (s strides) target(k int) Level {
	if s.stride == 0 {
		return s.level(k + 1)
	}
	return s.at(int(s.points[k].timestep) - s.stride)
}

// ddim returns the sampler of Song et al. 2021 (arXiv 2010.02502), equation 12, as in diffusers.
// Unlike [DDIM], which is guided diffusion's, it does not derive the noise anew from a clamped x_0.
func (s Sampling) ddim(schedule Schedule) (*Multistep, error) {
	g, err := s.strides(schedule)
	if err != nil {
		return nil, err
	}
	m := s.newMultistep(g.grid, predictedNoise, 1)
	m.noisy, m.raw = s.Eta > 0, true
	for k := range g.points {
		from, to := g.level(k), g.target(k)
		up := s.Eta * to.Sigma / from.Sigma * math.Sqrt(max(0, 1-math.Pow(from.Alpha/to.Alpha, 2)))
		m.add(k, 0, weights{
			x0:    to.Alpha,
			noise: up,
			past:  []float64{math.Sqrt(to.Sigma*to.Sigma - up*up)},
		})
	}
	return m, nil
}
