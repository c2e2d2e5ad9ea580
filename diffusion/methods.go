package diffusion

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Where a run ends: Sampling's Final.
const (
	FinalZero     = "zero"      // without noise, by a step of first order to the predicted x_0
	FinalSigmaMin = "sigma_min" // with the noise of timestep 0
)

// What unipc extrapolates: Sampling's Predict.
const (
	PredictX0  = "x0"
	PredictEps = "eps"
)

// method is what there is to choose about a sampler.
type method struct {
	name     string
	order    int      // the default; 0 if there is no choice
	highest  int      // the highest order
	variants []string // the default first
	final    bool     // Final may be sigma_min
	lower    bool     // has lower orders at the end, or not
	euler    bool     // has EulerAtFinal
	eta      bool
	corrects bool // has Predict and DisableCorrector

	stochastic bool // draws noise whatever is chosen
}

// secondOrders are the variants of the dpm family.
var secondOrders = []string{"midpoint", "heun"}

var methods = []method{
	{name: "ddpm", stochastic: true},
	{name: "ddim", final: true, eta: true},
	{name: "dpm++", order: 2, highest: 3, variants: secondOrders, final: true, lower: true, euler: true},
	{name: "dpm", order: 2, highest: 3, variants: secondOrders, final: true, lower: true, euler: true},
	{
		name:       "sde-dpm++",
		order:      2,
		highest:    3,
		variants:   secondOrders,
		final:      true,
		lower:      true,
		euler:      true,
		stochastic: true,
	},
	{
		name:       "sde-dpm",
		order:      2,
		highest:    2,
		variants:   secondOrders,
		final:      true,
		lower:      true,
		euler:      true,
		stochastic: true,
	},
	{name: "unipc", order: 2, highest: 3, variants: []string{"bh2", "bh1"}, final: true, lower: true, corrects: true},
	{name: "deis", order: 2, highest: 3, final: true, lower: true},
	{name: "lms", order: 4, highest: 4, final: true},
	{name: "euler", variants: []string{"deterministic", stochasticVariant}, final: true},
	{name: "euler_a", final: true, stochastic: true},
	{name: "heun", final: true},
	{name: "pndm", variants: []string{"plms", "prk"}, final: true},
	{name: odeName, variants: []string{dopriName, "euler", "heun", "midpoint", "heun3", "rk4"}},
	{name: sdeName, variants: []string{"euler", "heun"}, stochastic: true},
	{name: learnedName},
}

// Methods lists the samplers.
func Methods() []string {
	var names []string
	for _, m := range methods {
		names = append(names, m.name)
	}
	return names
}

// method returns the sampler of s, if there is one.
func (s Sampling) method() (method, bool) {
	k := slices.IndexFunc(methods, func(m method) bool { return m.name == s.Sampler })
	if k < 0 {
		return method{}, false
	}
	return methods[k], true
}

// plain returns s with the zero value for every option of the solver that is its default.
func (s Sampling) plain() Sampling {
	m, _ := s.method()
	if s.Order == m.order {
		s.Order = 0
	}
	if len(m.variants) > 0 && s.Variant == m.variants[0] {
		s.Variant = ""
	}
	if s.Final == FinalZero {
		s.Final = ""
	}
	if s.Predict == PredictX0 {
		s.Predict = ""
	}
	return s.plainFlow()
}

// plainFlow does so for the settings of flows.
func (s Sampling) plainFlow() Sampling {
	if s.Form == FormSigma {
		s.Form = ""
	}
	if s.LastStep == LastMean {
		s.LastStep = ""
	}
	for _, of := range []struct {
		setting  *float64
		standard float64
	}{
		{&s.Shift, 1}, {&s.FormScale, 1}, {&s.LastStepSize, defaultLastStepSize}, {&s.AbsTol, defaultAbsTol}, {&s.RelTol, defaultRelTol},
	} {
		if *of.setting == of.standard {
			*of.setting = 0
		}
	}
	return s
}

// order returns the order of the solver.
func (s Sampling) order() int {
	m, _ := s.method()
	if s.Order != 0 {
		return s.Order
	}
	return m.order
}

// checkOptions reports an option that the sampler does not have, or not so.
func (s Sampling) checkOptions(m method) error {
	none := func(what string) string {
		return fmt.Sprintf("%s with sampler %q, which has no choice", what, s.Sampler)
	}
	switch {
	case s.Eta != 0 && !m.eta:
		return &FieldError{"Eta", s.Eta, fmt.Sprintf("0: sampler %q has no eta, only ddim has", s.Sampler)}
	case !(s.Eta >= 0 && s.Eta <= 1):
		return &FieldError{"Eta", s.Eta, "0 to 1"}
	case s.Order != 0 && m.order == 0:
		return &FieldError{"Order", s.Order, none("none")}
	case s.Order < 0 || s.Order > m.highest:
		return &FieldError{"Order", s.Order, fmt.Sprintf("1 to %d with sampler %q", m.highest, s.Sampler)}
	case s.Variant != "" && len(m.variants) == 0:
		return &FieldError{"Variant", abbreviate(s.Variant), none("none")}
	case s.Variant != "" && !slices.Contains(m.variants, s.Variant):
		return &FieldError{"Variant", abbreviate(s.Variant), strings.Join(m.variants, ", ")}
	case s.Final != "" && s.Final != FinalSigmaMin:
		return &FieldError{"Final", abbreviate(s.Final), FinalZero + " or " + FinalSigmaMin}
	case s.Final != "" && !m.final:
		return &FieldError{"Final", s.Final, fmt.Sprintf("%s with sampler %q", FinalZero, s.Sampler)}
	case s.NoLowerOrderFinal && !m.lower:
		return &FieldError{"NoLowerOrderFinal", true, none("false")}
	case s.EulerAtFinal && !m.euler:
		return &FieldError{"EulerAtFinal", true, none("false")}
	case s.Predict != "" && !m.corrects:
		return &FieldError{"Predict", abbreviate(s.Predict), none("none")}
	case s.Predict != "" && s.Predict != PredictEps:
		return &FieldError{"Predict", abbreviate(s.Predict), PredictX0 + " or " + PredictEps}
	case s.DisableCorrector != "" && !m.corrects:
		return &FieldError{"DisableCorrector", abbreviate(s.DisableCorrector), none("none")}
	}
	_, err := s.uncorrected()
	return err
}

// uncorrected returns the steps, counted up, whose results are not corrected.
func (s Sampling) uncorrected() (map[int]bool, error) {
	if s.DisableCorrector == "" {
		return nil, nil
	}
	const want = "steps counted from 0, such as 0,1"
	steps := map[int]bool{}
	for field := range strings.SplitSeq(s.DisableCorrector, ",") {
		k, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || k < 0 {
			return nil, &FieldError{"DisableCorrector", abbreviate(s.DisableCorrector), want}
		}
		steps[k] = true
	}
	return steps, nil
}

// solver returns the solver of s for a network.
func (s Sampling) solver(n Network, schedule Schedule) (*Multistep, error) {
	m, err := s.tables(n, schedule)
	if err != nil {
		return nil, err
	}
	return m, m.read(schedule)
}

// tables returns the solver of s, which does not know yet how a network's outputs are read.
func (s Sampling) tables(n Network, schedule Schedule) (*Multistep, error) {
	switch s.Sampler {
	case learnedName:
		return s.learned(n, schedule)
	case "ddpm": // of networks whose variance is fixed, or not of betas
		s.Eta = 1
		return s.ddim(schedule)
	case "ddim":
		return s.ddim(schedule)
	case "unipc":
		return s.unipc(schedule)
	case "deis":
		return s.deis(schedule)
	case "lms":
		return s.lms(schedule)
	case "euler":
		return s.euler(schedule)
	case "euler_a":
		return s.eulerAncestral(schedule)
	case "heun":
		return s.heun(schedule)
	case odeName:
		return s.ode(schedule)
	case sdeName:
		return s.sde(schedule)
	case "pndm":
		return s.pndm(schedule)
	}
	return s.dpm(schedule)
}
