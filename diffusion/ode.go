package diffusion

import "fmt"

// SiT's own samplers, and how many steps its code takes where nothing is said.
const (
	odeName           = "ode"
	sdeName           = "sde"
	dopriName         = "dopri5"
	stochasticVariant = "stochastic"
	officialFlowSteps = 250
	defaultSampleEps  = 1e-3
)

// tableau is an explicit Runge-Kutta method, by the names of torchdiffeq.
type tableau struct {
	nodes  []float64   // of the stages
	stages [][]float64 // of each stage but the first: weights of those before
	result []float64
}

var tableaus = map[string]tableau{
	"euler":    {[]float64{0}, nil, []float64{1}},
	"heun":     {[]float64{0, 1}, [][]float64{{1}}, []float64{1. / 2, 1. / 2}},
	"midpoint": {[]float64{0, 1. / 2}, [][]float64{{1. / 2}}, []float64{0, 1}},
	"heun3":    {[]float64{0, 1. / 3, 2. / 3}, [][]float64{{1. / 3}, {0, 2. / 3}}, []float64{1. / 4, 0, 3. / 4}},
	"rk4": { // Kutta's 3/8 rule
		[]float64{0, 1. / 3, 2. / 3, 1},
		[][]float64{{1. / 3}, {-1. / 3, 1}, {1, -1, 1}},
		[]float64{1. / 8, 3. / 8, 3. / 8, 1. / 8},
	},
}

// span returns where ode starts and ends, in t, as SiT's code does where SampleEps is 0.
func (s Sampling) span(schedule Schedule) (t0, t1 float64) {
	eps, p := s.SampleEps, schedule.prediction
	velocity := p == PredictVelocity || p == PredictFlow
	if eps == 0 && !(velocity && schedule.path != VPPath) {
		eps = defaultSampleEps
	}
	if schedule.floor > 0 { // the velocity is finite everywhere
		return s.SampleEps, 1 - s.SampleEps
	}
	if schedule.path == VPPath || p == PredictSample {
		return 0, 1 - eps
	}
	return eps, 1 - eps
}

// timestepOfTime returns the timestep of SiT's t.
func timestepOfTime(t float64) float64 { return Timesteps * (1 - t) }

// ode returns a method of fixed steps, even in t but for the shift, on the velocity.
func (s Sampling) ode(schedule Schedule) (*Multistep, error) {
	t0, t1 := s.span(schedule)
	times := evenly(t0, t1, s.Steps+1)
	for k, t := range times {
		times[k] = 1 - s.shift(1-t)
	}
	return s.rungeKutta(schedule, times, tableaus[s.Variant]), nil
}

// rungeKutta returns a Runge-Kutta method through times, of SiT's t.
func (s Sampling) rungeKutta(schedule Schedule, times []float64, by tableau) *Multistep {
	stages := len(by.nodes)
	g := grid{end: schedule.Level(timestepOfTime(times[len(times)-1])), plain: true, noise: schedule.noiseScale()}
	for k, t := range times[:len(times)-1] {
		for _, c := range by.nodes {
			g.points = append(g.points, schedule.point(timestepOfTime(t+c*(times[k+1]-t))))
		}
	}
	m := s.newMultistep(g, predictedDrift, stages)
	m.holds = stages > 1
	for k, t := range times[:len(times)-1] {
		dt := times[k+1] - t
		for j := range stages {
			weigh, to := by.result, 1.0
			if j+1 < stages {
				weigh, to = by.stages[j], by.nodes[j+1]
			}
			at := &m.steps[k*stages+j]
			along := func(weigh ...float64) combination {
				c := combination{x: 1, kept: make([]float32, stages)}
				for i, w := range weigh {
					c.kept[i] = float32(dt * w)
				}
				return c
			}
			if j > 0 { // without a past, go on to where the next evaluation is
				alone := make([]float64, j+1)
				alone[j] = to - by.nodes[j]
				at.moves = append(at.moves, move{to: along(alone...)})
			}
			at.moves = append(at.moves, move{past: j, hold: j > 0, to: along(weigh...)})
		}
	}
	return m
}

// times returns SiT's t at the points of a grid and at its end.
func (g grid) times(schedule Schedule) []float64 {
	var times []float64
	for _, p := range g.points {
		times = append(times, 1-schedule.time(p))
	}
	return append(times, 1-schedule.timeOf(g.end.LogSNR()))
}

// flowEuler returns Euler's method on the velocity, or, as the variant stochastic, a way down that
// takes the predicted x_0 and adds all noise anew.
func (s Sampling) flowEuler(schedule Schedule) (*Multistep, error) {
	g, err := s.grid(schedule, sigmaRule)
	if err != nil {
		return nil, err
	}
	times := g.times(schedule)
	m := s.newMultistep(g, predictedDrift, 1)
	m.noisy = s.Variant == stochasticVariant
	for k := range g.points {
		w := weights{x: 1, past: []float64{times[k+1] - times[k]}}
		if m.noisy {
			to := g.level(k + 1)
			w = weights{x0: to.Alpha, noise: to.Sigma}
		}
		m.add(k, 0, w)
	}
	return m, nil
}

// flowHeun returns Heun's method on the velocity. The last step is Euler's.
func (s Sampling) flowHeun(schedule Schedule) (*Multistep, error) {
	g, err := s.grid(schedule, sigmaRule)
	if err != nil {
		return nil, err
	}
	times := g.times(schedule)
	doubled := grid{end: g.end, plain: g.plain, noise: g.noise}
	for k, p := range g.points {
		if k > 0 {
			doubled.points = append(doubled.points, p)
		}
		doubled.points = append(doubled.points, p)
	}
	m := s.newMultistep(doubled, predictedDrift, 2)
	m.holds = true
	for k := range g.points {
		dt := times[k+1] - times[k]
		m.add(2*k, 0, weights{x: 1, past: []float64{dt}})
		if k+1 == len(g.points) {
			break
		}
		m.add(2*k+1, 0, weights{x: 1})
		m.add(2*k+1, 1, weights{x: 1, past: []float64{dt / 2, dt / 2}})
		m.steps[2*k+1].moves[1].hold = true
	}
	return m, nil
}

// checkFlowSampler reports settings of ode and sde that have no meaning, or that other samplers
// have not.
func (s Sampling) checkFlowSampler() error {
	small := func(field string, v, limit float64) error {
		if !(v >= 0 && v < limit) {
			return &FieldError{field, v, fmt.Sprintf("0 to below %g", limit)}
		}
		return nil
	}
	only := func(sampler, field string, value any, none bool) error {
		if s.Sampler == sampler || none {
			return nil
		}
		return &FieldError{field, value, fmt.Sprintf("none: only sampler %q has it", sampler)}
	}
	for _, err := range []error{
		small("SampleEps", s.SampleEps, 0.5),
		small("AbsTol", s.AbsTol, 1),
		small("RelTol", s.RelTol, 1),
		small("LastStepSize", s.LastStepSize, 1),
		only(sdeName, "Form", s.Form, s.Form == ""),
		only(sdeName, "FormScale", s.FormScale, s.FormScale == 0),
		only(sdeName, "LastStep", s.LastStep, s.LastStep == ""),
		only(sdeName, "LastStepSize", s.LastStepSize, s.LastStepSize == 0),
	} {
		if err != nil {
			return err
		}
	}
	switch {
	case s.SampleEps != 0 && s.Sampler != odeName && s.Sampler != sdeName:
		return &FieldError{"SampleEps", s.SampleEps, "none: only samplers \"ode\" and \"sde\" have it"}
	case s.AbsTol != 0 && !s.adaptive():
		return &FieldError{"AbsTol", s.AbsTol, "none: only sampler \"ode\" with dopri5 has tolerances"}
	case s.RelTol != 0 && !s.adaptive():
		return &FieldError{"RelTol", s.RelTol, "none: only sampler \"ode\" with dopri5 has tolerances"}
	case s.Spacing != "" && (s.Sampler == odeName || s.Sampler == sdeName):
		return &FieldError{"Spacing", abbreviate(s.Spacing), fmt.Sprintf("none: the steps of sampler %q are even in t", s.Sampler)}
	case s.Sampler == sdeName:
		return s.checkSDE()
	}
	return nil
}

// ODEThrough returns a method of sampler ode with fixed steps from each time to the next, of SiT's
// t, rising or falling: falling ones take data to noise.
func ODEThrough(n Network, method string, times []float64) (*Multistep, error) {
	schedule, err := n.Levels()
	if err != nil {
		return nil, err
	}
	by, ok := tableaus[method]
	if !ok || !schedule.IsFlow() || len(times) < 2 {
		return nil, fmt.Errorf("ode %q through %d times on schedule %q: want a method of fixed steps, 2 times or more and a flow",
			method, len(times), n.Schedule)
	}
	m := Sampling{}.rungeKutta(schedule, times, by)
	return m, m.read(schedule)
}
