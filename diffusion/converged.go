package diffusion

import (
	"fmt"
	"math"
	"slices"
)

// Converged is a solution of the probability-flow ODE with so many steps that more change nothing
// that is measured: what deterministic samplers approximate.
type Converged struct {
	X     [][]float32 // at each timestep asked for
	Final []float32   // the x_0 predicted at the last timestep, where the ODE ends
	// Error is the largest difference of any of these to the same with half the steps. The error of
	// the solution is less, about a fifteenth at the order of the solver, until the rounding of
	// float32 is all that is left, about 1e-6 to 1e-5.
	Error       float64
	Evaluations int // of the network, for both solutions
}

// Converge solves the probability-flow ODE from x, which is data with the noise of the first
// timestep, through the other timesteps to data. They fall, and may be real numbers. The steps, at
// least as many as given and at least two from each timestep to the next, are even in log-SNR
// between timesteps; the solver is UniPC of third order, whose corrector makes it one of fourth.
// Some 200 steps reach what float32 can tell.
//
// predict sets out to the network's output for x at a timestep, guided if there is guidance: what
// the schedule's network predicts, see [Network.Levels], which for a schedule by itself is the
// noise. x may be of one image or of several. An error of predict ends it.
func Converge(
	schedule Schedule, timesteps []float64, x []float32, steps int,
	predict func(out, x []float32, timestep float64) error,
) (*Converged, error) {
	if err := checkConverge(schedule, timesteps, steps); err != nil {
		return nil, err
	}
	fine, asked := convergedGrid(schedule, timesteps, steps)
	coarse, half := fine.everyOther(), make([]int, len(asked))
	for i, k := range asked {
		half[i] = k / 2
	}
	rough, err := solveConverged(schedule, coarse, half, x, predict)
	if err != nil {
		return nil, err
	}
	c, err := solveConverged(schedule, fine, asked, x, predict)
	if err != nil {
		return nil, err
	}
	c.Evaluations += rough.Evaluations
	c.Error = largestDifference(c.Final, rough.Final)
	for i := range c.X {
		c.Error = max(c.Error, largestDifference(c.X[i], rough.X[i]))
	}
	return c, nil
}

func checkConverge(schedule Schedule, timesteps []float64, steps int) error {
	if steps < 1 {
		return fmt.Errorf("converged solution in %d steps: want 1 or more", steps)
	}
	if len(timesteps) == 0 {
		return fmt.Errorf("converged solution at no timestep: want one or more")
	}
	first := schedule.First()
	_, last := schedule.inner()
	for k, t := range timesteps {
		if !(t >= last && t <= first) {
			return fmt.Errorf("converged solution at timestep %v: want %v to %v", t, last, first)
		}
		if k > 0 && t >= timesteps[k-1] {
			return fmt.Errorf("converged solution at timestep %v after %v: want falling timesteps", t, timesteps[k-1])
		}
	}
	return nil
}

// convergedGrid returns the points of the finer solution, an even number between timesteps, and
// which of them are those asked for. From noise alone, whose log-SNR is infinite, two steps are even
// in time.
func convergedGrid(schedule Schedule, timesteps []float64, steps int) (g grid, asked []int) {
	g.end = clean
	first, last := schedule.inner()
	if t := timesteps[0]; math.IsInf(schedule.LogSNR(t), -1) {
		asked = append(asked, 0)
		g.points = append(g.points, schedule.point(t), schedule.point((t+first)/2))
		timesteps = slices.Concat([]float64{first}, timesteps[1:])
		defer func() { asked = slices.Delete(asked, 1, 2) }()
	}
	longest := (schedule.LogSNR(last) - schedule.LogSNR(timesteps[0])) / float64(steps)
	add := func(t, lambda float64) {
		at := schedule.pointOf(lambda)
		at.timestep = t
		g.points = append(g.points, at)
	}
	for i, t := range timesteps {
		asked = append(asked, len(g.points))
		lambda := schedule.LogSNR(t)
		add(t, lambda)
		next := last
		if i+1 < len(timesteps) {
			next = timesteps[i+1]
		} else if t <= last {
			break
		}
		span := schedule.LogSNR(next) - lambda
		pieces := 2 * max(1, int(math.Ceil(span/longest/2)))
		for k := 1; k < pieces; k++ {
			between := lambda + span*float64(k)/float64(pieces)
			add(schedule.Timestep(between), between)
		}
	}
	if timesteps[len(timesteps)-1] > last {
		add(last, schedule.LogSNR(last))
	}
	return g, asked
}

// solveConverged solves the ODE on a grid.
func solveConverged(
	schedule Schedule, g grid, asked []int, x []float32, predict func(out, x []float32, timestep float64) error,
) (*Converged, error) {
	m := Sampling{Sampler: "unipc", Order: 3, NoLowerOrderFinal: true}.unipcOn(g, nil)
	if err := m.read(schedule); err != nil {
		return nil, err
	}
	m.start = 1 // x has its noise
	c := &Converged{Evaluations: m.Steps()}
	tr, out := NewTrajectory(m, x), make([]float32, len(x))
	for k := range m.steps {
		if err := predict(out, tr.X(), tr.Timestep()); err != nil {
			return nil, err
		}
		tr.Step(out, nil)
		if len(c.X) < len(asked) && asked[len(c.X)] == k {
			c.X = append(c.X, append([]float32(nil), tr.base...)) // x at the point, corrected
		}
	}
	c.Final = tr.X()
	return c, nil
}

func largestDifference(a, b []float32) float64 {
	largest := 0.0
	for k, v := range a {
		largest = max(largest, math.Abs(float64(v)-float64(b[k])))
	}
	return largest
}
