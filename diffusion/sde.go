package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// How much noise sde adds while it goes: SiT's diffusion forms w (Ma et al. 2024, arXiv 2401.08740,
// section 3.3). Of t, with c = FormScale:
const (
	FormConstant   = "constant"              // c
	FormSBDM       = "SBDM"                  // c times half the squared diffusion coefficient of the forward SDE
	FormSigma      = "sigma"                 // c sigma(t)
	FormLinear     = "linear"                // c (1-t)
	FormDecreasing = "decreasing"            // (c cos(pi t) + 1)^2/4
	FormBell       = "increasing-decreasing" // c sin(pi t)^2
)

// The last step of sde, which adds no noise.
const (
	LastMean    = "mean"    // the drift, for LastStepSize
	LastEuler   = "euler"   // the velocity, for LastStepSize
	LastTweedie = "tweedie" // to the predicted x_0
	LastNone    = "none"
)

// Forms lists the diffusion forms, the default first.
func Forms() []string {
	return []string{FormSigma, FormSBDM, FormConstant, FormLinear, FormDecreasing, FormBell}
}

// LastSteps lists the last steps, the default first.
func LastSteps() []string { return []string{LastMean, LastTweedie, LastEuler, LastNone} }

const defaultLastStepSize = 0.04

// checkSDE reports settings of sde that have no meaning.
func (s Sampling) checkSDE() error {
	switch {
	case s.Form != "" && !slices.Contains(Forms(), s.Form):
		return &FieldError{"Form", abbreviate(s.Form), strings.Join(Forms(), ", ")}
	case s.LastStep != "" && !slices.Contains(LastSteps(), s.LastStep):
		return &FieldError{"LastStep", abbreviate(s.LastStep), strings.Join(LastSteps(), ", ")}
	case !(s.FormScale >= 0) || math.IsInf(s.FormScale, 0):
		return &FieldError{"FormScale", s.FormScale, "a number above 0"}
	case s.LastStep == LastNone && s.LastStepSize != 0:
		return &FieldError{"LastStepSize", s.LastStepSize, "0: there is no last step"}
	case s.Steps < 2:
		return &FieldError{"Steps", s.Steps, "2 or more with sampler \"sde\": the last is one of them"}
	}
	return nil
}

// form returns w at t.
func (s Sampling) form(schedule Schedule, t float64) float64 {
	c := s.FormScale
	if c == 0 {
		c = 1
	}
	switch s.Form {
	case FormConstant:
		return c
	case FormSBDM:
		return c * schedule.diffusionAt(1-t)
	case FormLinear:
		return c * (1 - t)
	case FormDecreasing:
		return math.Pow(c*math.Cos(math.Pi*t)+1, 2) / 4
	case FormBell:
		return c * math.Pow(math.Sin(math.Pi*t), 2)
	}
	return c * schedule.levelAt(1-t).Sigma
}

// sdeTimes returns the times of the steps of sde, with that of the end, before its last step.
func (s Sampling) sdeTimes(schedule Schedule) (times []float64, last float64) {
	t0, end := s.span(schedule)
	t1 := end
	if s.LastStep != LastNone {
		if last = s.LastStepSize; last == 0 {
			last = defaultLastStepSize
		}
		t1 = 1 - last
	}
	return evenly(t0, t1, s.Steps), last
}

// sde returns SiT's stochastic samplers of
//
//	dx = (velocity + w score) dt + sqrt(2 w) dW
//
// by Euler-Maruyama, or by Heun's method on the drift after the noise of a step was added. Of the
// latter the first noise is added by starting from more, and that of other steps with the step
// before.
func (s Sampling) sde(schedule Schedule) (*Multistep, error) {
	times, size := s.sdeTimes(schedule)
	n := len(times) - 1
	heun := s.Variant == "heun"
	g := grid{end: schedule.Level(timestepOfTime(times[n] + size)), plain: true, noise: schedule.noiseScale()}
	var forms []float64
	add := func(t, form float64) {
		g.points, forms = append(g.points, schedule.point(timestepOfTime(t))), append(forms, form)
	}
	for k, t := range times[:n] {
		add(t, s.form(schedule, t))
		if heun {
			add(times[k+1], s.form(schedule, times[k+1]))
		}
	}
	lastForm := s.form(schedule, times[n])
	if s.LastStep == LastEuler {
		lastForm = 0
	}
	if s.LastStep != LastNone {
		add(times[n], lastForm)
	}
	for k, form := range forms {
		if !finite(form) {
			return nil, &FieldError{"Form", s.Form, fmt.Sprintf("another, or a SampleEps such as 0.001: it is infinite at t = %g",
				1-g.points[k].timestep/Timesteps)}
		}
	}
	m := s.newMultistep(g, predictedDrift, 2)
	m.noisy, m.holds = true, heun
	for k := range m.steps {
		m.steps[k].score = forms[k]
	}
	if heun {
		s.sdeHeun(schedule, m, times)
	} else {
		for k, t := range times[:n] {
			dt := times[k+1] - t
			m.add(k, 0, weights{x: 1, past: []float64{dt}, noise: math.Sqrt(2 * forms[k] * dt)})
		}
	}
	switch last := len(m.steps) - 1; s.LastStep {
	case LastNone:
	case LastTweedie:
		m.add(last, 0, weights{x0: 1})
		m.end = clean
	default:
		m.add(last, 0, weights{x: 1, past: []float64{size}})
	}
	return m, nil
}

// sdeHeun adds the moves of all steps but the last.
func (s Sampling) sdeHeun(schedule Schedule, m *Multistep, times []float64) {
	n := len(times) - 1
	noise := func(k int) float64 {
		if k == n {
			return 0
		}
		return math.Sqrt(2 * s.form(schedule, times[k]) * (times[k+1] - times[k]))
	}
	m.first = noise(0)
	m.start = float32(math.Hypot(1, m.first))
	for k := range n {
		dt := times[k+1] - times[k]
		m.add(2*k, 0, weights{x: 1, past: []float64{dt}})
		m.add(2*k+1, 0, weights{x: 1, noise: noise(k + 1)})
		m.add(2*k+1, 1, weights{x: 1, past: []float64{dt / 2, dt / 2}, noise: noise(k + 1)})
		m.steps[2*k+1].moves[1].hold = true
	}
}

// StartNoise returns the deviation of the noise that is added to standard normal noise before the
// first evaluation, 0 but for sde's Heun. A trajectory starts from noise of the sum's deviation.
func (m *Multistep) StartNoise() float64 { return m.first }

// NoiseScale returns what the noise of the step at index i is multiplied by.
func (m *Multistep) NoiseScale(i int) float64 {
	moves := m.steps[len(m.steps)-1-i].moves
	return float64(moves[len(moves)-1].to.noise)
}
