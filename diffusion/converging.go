package diffusion

import (
	"fmt"
	"math"
)

// convergedSteps is the number of steps of Converging, and one less than its evaluations.
const convergedSteps = 196

// StochasticError reports a sampler that draws noise on its way: the same starting noise leads
// anywhere, so that there is no one solution that more steps approach.
type StochasticError struct{ Sampling Sampling }

func (e *StochasticError) Error() string {
	name := e.Sampling.Sampler
	if e.Sampling.Eta != 0 {
		name = fmt.Sprintf("%s with eta %g", name, e.Sampling.Eta)
	}
	return fmt.Sprintf("no converged solution: sampler %s adds noise at every step", name)
}

// Stochastic tells whether the samples depend on more noise than they start from.
func (s Sampling) Stochastic() bool {
	m, _ := s.WithDefaults().method()
	return m.stochastic || s.Eta > 0 || s.Variant == stochasticVariant
}

// Converging returns two samplers of the solution that s approximates, the probability-flow ODE
// from the same starting noise at the same timestep under the same guidance. The steps of fine,
// 197 evaluations (199 of a flow that starts from noise alone), are so many that more change nothing that is measured; half has every other of
// its points, so that their difference bounds the error of fine: see Converge, which has the same
// solver. They are even in log-SNR and depend on s only by where it starts and ends, so that
// samplers of different steps approximate one solution. For a stochastic s the error is a
// *StochasticError.
func (s Sampling) Converging(n Network) (fine, half Sampler, err error) {
	approximate, err := s.New(n)
	if err != nil {
		return nil, nil, err
	}
	if s.Stochastic() {
		return nil, nil, &StochasticError{s.WithDefaults()}
	}
	schedule, err := n.Levels()
	if err != nil {
		return nil, nil, err
	}
	timesteps := []float64{approximate.Timestep(approximate.Steps() - 1)}
	remains := approximate.LogSNR(-1) // of the noise, where some stays
	if !math.IsInf(remains, 1) {
		timesteps = append(timesteps, schedule.Timestep(remains))
	}
	g, asked := convergedGrid(schedule, timesteps, convergedSteps)
	solver := func(g grid, last int) (*Multistep, error) {
		if len(timesteps) > 1 {
			g.points, g.end = g.points[:last], g.points[last].level
		}
		m := Sampling{Sampler: "unipc", Order: 3, NoLowerOrderFinal: true, Clip: s.Clip}.unipcOn(g, nil)
		m.start = approximate.startScale()
		return m, m.read(schedule)
	}
	last := asked[len(asked)-1]
	if fine, err = solver(g, last); err != nil {
		return nil, nil, err
	}
	half, err = solver(g.everyOther(), last/2)
	return fine, half, err
}

// everyOther returns the grid of the first point, the third, and so on.
func (g grid) everyOther() grid {
	half := grid{end: g.end, plain: g.plain, noise: g.noise}
	for k := 0; k < len(g.points); k += 2 {
		half.points = append(half.points, g.points[k])
	}
	return half
}
