package diffusion

import (
	"fmt"
	"math"
)

// Multistep is a sampler whose every step is a linear combination of the sample, of the network's
// predictions at this step and at earlier ones, and of noise: all solvers here but DDPM, DDIM and
// DPMSolver, which round as the public code of guided diffusion does. What the solvers differ in is
// in tables, which New computes in float64; any other weights on past predictions make a solver
// too, such as those of a LearnedSolver.
//
// A network evaluation is a step, so Heun's method takes two to advance. The sample is kept as the
// network takes it, Alpha*x_0 + Sigma*noise, also by the solvers that their papers write for
// x_0 + sigma*noise.
type Multistep struct {
	steps []step // in the order in which they are taken
	end   Level

	keeps predicted
	slots int  // kept predictions
	holds bool // whether some moves do not start from the sample
	noisy bool
	clip  bool    // clamp every predicted x_0 to [-1, 1]
	raw   bool    // where clamped, keep the noise as the network predicts it, not as x_0 implies it
	start float32 // what standard normal noise is multiplied by, about 1
	first float64 // see StartNoise
}

// predicted is what a solver extrapolates.
type predicted int

const (
	predictedNoise predicted = iota
	predictedX0
	predictedDrift // velocity + step.score * score, of flows
)

// step is one evaluation and where it leads.
type step struct {
	point
	slot  int // where the prediction is kept
	moves []move
	score float64 // weight of the score in the drift

	x0   pair // how the network's output is read
	kept pair // likewise
	// again is kept from x and an x_0 that was clamped.
	again pair
}

// move is a way on from a step. Of a step's moves the last whose past there is is taken.
type move struct {
	past int  // steps that must have been taken before
	hold bool // it starts from where the move before did
	// correct, if not nil, is where the move starts: a combination of where the last one did and
	// of the predictions since.
	correct *combination
	to      combination
}

// combination is x*x + x0*x_0 + kept·predictions + noise*noise.
type combination struct {
	x, x0, noise float32
	kept         []float32 // of each slot
}

// Steps returns the number of network evaluations.
func (m *Multistep) Steps() int { return len(m.steps) }

// Timestep implements Sampler.
func (m *Multistep) Timestep(i int) float64 { return m.steps[len(m.steps)-1-i].timestep }

// Level returns the level of the sample at index i, and at -1 where the last step ends.
func (m *Multistep) Level(i int) Level {
	if i < 0 {
		return m.end
	}
	return m.steps[len(m.steps)-1-i].level
}

// LogSNR implements Sampler.
func (m *Multistep) LogSNR(i int) float64 { return m.Level(i).LogSNR() }

// Sigma implements Sampler.
func (m *Multistep) Sigma(i int) float64 { return m.Level(i).ratio() }

// DrawsNoise tells whether the solver is stochastic.
func (m *Multistep) DrawsNoise() bool { return m.noisy }

func (m *Multistep) memory() (past int, base bool) { return m.slots, m.holds }

func (m *Multistep) startScale() float32 { return m.start }

func (m *Multistep) step(t *Trajectory, i int, out, noise []float32) {
	s := &m.steps[len(m.steps)-1-i]
	m.predict(t, s, out[:len(t.x)])
	mv := s.move(t.taken)
	from := t.x
	if m.holds {
		switch {
		case mv.hold:
		case mv.correct != nil:
			mv.correct.apply(t.base, t.base, t, nil)
		default:
			copy(t.base, t.x)
		}
		from = t.base
	}
	mv.to.apply(t.x, from, t, noise)
}

// read sets how the outputs of a network of a schedule are read. It fails where one cannot be.
func (m *Multistep) read(schedule Schedule) error {
	for k := range m.steps {
		s := &m.steps[k]
		r := schedule.read(s.point)
		alpha, sigma := s.level.Alpha, s.level.Sigma
		noise := pair{1 / sigma, -alpha / sigma} // by x and x_0
		if sigma == 0 {
			noise = pair{}
		}
		s.x0 = r.x0
		switch m.keeps {
		case predictedX0:
			s.kept, s.again = r.x0, pair{out: 1}
		case predictedDrift:
			s.kept = r.velocity
			if s.score != 0 {
				s.kept = s.kept.plus(-s.score/sigma, r.noise)
			}
			by := reading{x0: pair{out: 1}, noise: noise}
			s.again = schedule.velocityOf(s.point, by).plus(-s.score/max(sigma, math.SmallestNonzeroFloat64), noise)
		default:
			s.kept, s.again = r.noise, noise
			if m.raw {
				s.again = pair{}
			}
		}
		if !s.x0.finite() || !s.kept.finite() {
			return fmt.Errorf("at timestep %g nothing follows from a network that predicts %s: "+
				"there is no data in x, or no noise", s.timestep, schedule.predicts())
		}
	}
	return nil
}

// predict sets t.x0, and keeps what the solver extrapolates.
func (m *Multistep) predict(t *Trajectory, s *step, out []float32) {
	s.x0.apply(t.x0, t.x, out)
	kept := t.past[s.slot]
	if m.clip {
		for k, v := range t.x0 {
			t.x0[k] = min(max(v, -1), 1)
		}
		if s.again != (pair{}) {
			s.again.apply(kept, t.x, t.x0)
			return
		}
	}
	if s.kept == s.x0 {
		copy(kept, t.x0)
		return
	}
	s.kept.apply(kept, t.x, out)
}

// move returns the move to take after so many steps.
func (s *step) move(taken int) *move {
	k := len(s.moves) - 1
	for s.moves[k].past > taken {
		k--
	}
	return &s.moves[k]
}

// apply sets dst to the combination with x, of which each product is rounded before it is added.
// dst may be x.
func (c *combination) apply(dst, x []float32, t *Trajectory, noise []float32) {
	for k, v := range x {
		dst[k] = c.x * v
	}
	addScaled(dst, c.x0, t.x0)
	for slot, w := range c.kept {
		addScaled(dst, w, t.past[slot])
	}
	if c.noise != 0 {
		checkLength("noise", len(noise), len(dst))
		addScaled(dst, c.noise, noise)
	}
}

func addScaled(dst []float32, w float32, x []float32) {
	if w == 0 {
		return
	}
	for k, v := range x[:len(dst)] {
		dst[k] += float32(w * v)
	}
}
