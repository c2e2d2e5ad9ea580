package diffusion

import (
	"fmt"
	"math"
	"slices"
)

// maxFlowSteps bounds the steps of a run on a flow, whose timesteps are not counted.
const maxFlowSteps = Timesteps

// shift returns u after the time shift of s.
func (s Sampling) shift(u float64) float64 {
	by := math.Exp(s.Mu)
	if s.Shift > 0 {
		by *= s.Shift
	}
	return by * u / (1 + (by-1)*u)
}

// ResolutionMu returns the logarithm of the time shift for samples of so many tokens: that of FLUX
// and diffusers, even in the number of tokens through 0.5 at 256 and 1.15 at 4096.
func ResolutionMu(tokens int) float64 {
	return 0.5 + (1.15-0.5)*float64(tokens-256)/(4096-256)
}

// stretch returns levels of noise whose last is the terminal one of s, if it has one.
func (s Sampling) stretch(us []float64) []float64 {
	if s.ShiftTerminal == 0 {
		return us
	}
	factor := (1 - s.ShiftTerminal) / (1 - us[len(us)-1])
	for k, u := range us {
		us[k] = 1 - (1-u)*factor
	}
	return us
}

// flowGrid has even steps in t, shifted, from the first timestep of the schedule to data: SiT's.
func (s Sampling) flowGrid(schedule Schedule) (grid, error) {
	if s.Steps < 1 || s.Steps > maxFlowSteps {
		return grid{}, &FieldError{"Steps", s.Steps, fmt.Sprintf("1 to %d", maxFlowSteps)}
	}
	g, last := grid{end: clean}, 0.0
	if s.Final == FinalSigmaMin {
		_, last = schedule.inner()
		g.end = schedule.Level(last)
	}
	us := evenly(schedule.First()/Timesteps, last/Timesteps, s.Steps+1)[:s.Steps]
	for k, u := range us {
		us[k] = s.shift(u)
	}
	for _, u := range s.stretch(us) {
		g.points = append(g.points, schedule.point(snap(Timesteps*u)))
	}
	return g, nil
}

// recordedFlowGrid follows diffusers' schedulers of flows, which know one path.
func (s Sampling) recordedFlowGrid(schedule Schedule, r rule) (grid, error) {
	timesteps, name, _ := splitSpacing(s.Spacing)
	switch {
	case schedule.path != LinearPath:
		return grid{}, &FieldError{"Spacing", s.Spacing, fmt.Sprintf("none, %s or %s: diffusers' spacings are of the path %s",
			spacingLogSNR, spacingQuadratic, LinearPath)}
	case timesteps != timestepSpacings[0] || name == "lu" || s.Spacing != name && name != "":
		return grid{}, &FieldError{"Spacing", s.Spacing, "linspace, karras, exponential or beta: flows have no others of diffusers'"}
	}
	us, truncates := s.recordedFlowLevels(r), r != sigmaRule
	if name != "" {
		if r != sigmaRule {
			us = s.mappedCurve(name)
		} else {
			us = curves[name].at(s.Steps, us[len(us)-1], us[0])
		}
	}
	g := grid{end: clean, plain: true, noise: schedule.noiseScale()}
	for _, u := range s.stretch(us) {
		p := point{Timesteps * u, schedule.levelAt(u)}
		if truncates {
			p.timestep = math.Trunc(p.timestep)
		}
		g.points = append(g.points, p)
	}
	if s.Final == FinalSigmaMin {
		g.end = g.level(len(g.points) - 1)
	}
	return g, nil
}

// recordedFlowLevels returns the levels of noise of diffusers' linspace, falling.
func (s Sampling) recordedFlowLevels(r rule) []float64 {
	const lowest = 1. / Timesteps
	var us []float64
	switch {
	case r == sigmaRule:
		low := lowest
		if s.Mu == 0 {
			low = s.shift(low)
		}
		us = evenly(1, low, s.Steps)
	case s.Sampler == "unipc":
		us = numpyEvenly(1, lowest, s.Steps+1)[:s.Steps]
	default:
		for _, alpha := range numpyEvenly(1, lowest, s.Steps+1)[1:] {
			us = append(us, 1-alpha)
		}
		slices.Reverse(us)
	}
	for k, u := range us {
		us[k] = s.shift(u)
	}
	const below = 1e-6
	if s.Sampler == "unipc" && us[0] == 1 {
		us[0] -= below
	}
	return us
}

// numpyEvenly is evenly as NumPy rounds it: truncated timesteps hang on the last bit.
func numpyEvenly(first, last float64, n int) []float64 {
	step := (last - first) / float64(n-1)
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(float64(i)*step) + first
	}
	out[n-1] = last
	return out
}

// mappedCurve returns a curve between the noise-to-signal ratios of the schedule "linear", as a
// flow's levels of noise.
func (s Sampling) mappedCurve(name string) []float64 {
	linear, err := Linear(Timesteps)
	if err != nil { // not with as many timesteps
		return nil
	}
	ratio := func(t int) float64 { a := linear.single[t]; return math.Sqrt((1 - a) / a) }
	us := curves[name].at(s.Steps, ratio(0), ratio(Timesteps-1))
	for k, sigma := range us {
		us[k] = sigma / (1 + sigma)
	}
	return us
}

// checkFlow reports settings that only flows have, or that flows do not have.
func (s Sampling) checkFlow(m method, schedule Schedule) error {
	flowOnly := func(field string, value any) error {
		return &FieldError{field, value, "none: only flow models have it, such as SiT"}
	}
	shifted := s.Shift != 0 && s.Shift != 1 || s.Mu != 0 || s.ShiftByResolution || s.ShiftTerminal != 0
	switch {
	case !(s.Shift >= 0) || math.IsInf(s.Shift, 0):
		return &FieldError{"Shift", s.Shift, "a number above 0"}
	case !finite(s.Mu):
		return &FieldError{"Mu", s.Mu, "a number"}
	case !(s.ShiftTerminal >= 0 && s.ShiftTerminal < 1):
		return &FieldError{"ShiftTerminal", s.ShiftTerminal, "0 to below 1"}
	case s.ShiftByResolution && s.Mu != 0:
		return &FieldError{"Mu", s.Mu, "0: the resolution gives it"}
	}
	if err := s.checkFlowSampler(); err != nil {
		return err
	}
	if !schedule.IsFlow() {
		switch {
		case m.name == odeName || m.name == sdeName:
			want := "another: only flow models such as SiT have the sampler " + m.name
			return &FieldError{"Sampler", m.name, want}
		case shifted:
			return flowOnly("Shift", max(s.Shift, math.Exp(s.Mu)))
		case s.Variant == stochasticVariant:
			return flowOnly("Variant", s.Variant)
		}
		return nil
	}
	switch {
	case !named(s.Spacing) && s.Spacing != "":
		return &FieldError{"Spacing", abbreviate(s.Spacing), "none, or " + spacingLogSNR + ", " + spacingQuadratic +
			", linspace, karras, exponential or beta: a flow has no timesteps to choose from"}
	case shifted && (s.Sampler == sdeName || s.Sampler == "pndm" || s.Sampler == learnedName || s.adaptive()):
		return &FieldError{"Shift", max(s.Shift, math.Exp(s.Mu)), fmt.Sprintf("1: the steps of sampler %q are not shifted", s.Sampler)}
	case shifted && (s.Spacing == spacingLogSNR || s.Spacing == spacingQuadratic):
		return &FieldError{"Shift", max(s.Shift, math.Exp(s.Mu)), fmt.Sprintf("1: the spacing %s is not shifted", s.Spacing)}
	}
	return nil
}
