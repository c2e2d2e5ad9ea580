package comparison

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/report"
)

// stepsPrefix begins the policy of a sampler without a cache: steps=25 is the comparison's own with
// fewer steps, steps=unipc3:logsnr19 another sampler, with its order and its steps.
const stepsPrefix = "steps="

// fewerSteps is the name in Options.Policies that stands for all solvers: the baseline is the best
// of them at each cost.
const fewerSteps = "fewer-steps"

// ownSteps is the solver that is the comparison's own sampler with fewer steps.
const ownSteps = "own-steps"

// solvers are samplers that need no cache to be fast.
var solvers = []method{
	{name: ownSteps, title: "fewer steps", solver: "%d"},
	{name: "dpm++", title: "DPM-Solver++ 2M, log-SNR", solver: "dpm++:logsnr%d"},
	{name: "unipc3", title: "UniPC-3, log-SNR", solver: "unipc3:logsnr%d"},
	{name: "learned", title: "learned multistep (ours, after BNS and S4S)", solver: "learned:%d"},
}

// knownSolvers are those solvers whose samplers there are.
func knownSolvers() []method {
	return slices.DeleteFunc(slices.Clone(solvers), func(m method) bool {
		return m.name == "learned" && !slices.Contains(diffusion.Methods(), "learned")
	})
}

// isSolver tells a solver from a cache method.
func (m *method) isSolver() bool { return m.solver != "" }

// solverNames lists the names of the solvers.
func solverNames() []string {
	var names []string
	for _, m := range knownSolvers() {
		names = append(names, m.name)
	}
	return names
}

// maxMiss is how far, as a share, a solver's steps may be from those of a speed where it does not
// have any number.
const maxMiss = 0.25

// solverAt returns the policy of a solver at a speed: the nearest number of steps that it has.
func (r *runner) solverAt(m *method, speed float64) (string, error) {
	all := r.plan.Steps() // network evaluations, of which the solvers need one for each step
	if m.name == ownSteps {
		all = r.Sampling.Steps
	}
	n := fewer(all, speed)
	var first error
	for miss := 0; float64(miss) <= maxMiss*float64(n); miss++ {
		for _, count := range []int{n - miss, n + miss} {
			text := fmt.Sprintf(m.solver, count)
			if m.name == ownSteps {
				text = ownStepsText(r.Sampling, count)
			}
			s, err := parseSolver(r.Sampling, text)
			if err == nil {
				_, err = r.Pipeline.Plan(s) // a sampler may be of this network alone
			}
			if err == nil {
				return stepsPrefix + solverText(r.Sampling, s, text), nil
			}
			if first == nil {
				first = err
			}
		}
	}
	return "", &calibrate.SpeedError{What: first.Error()}
}

// fewer returns the number of steps that gives a speed.
func fewer(steps int, speed float64) int { return max(1, int(math.Round(float64(steps)/speed))) }

// ownStepsText is a number of steps of a sampling, spaced as it spaces its own where that goes.
func ownStepsText(s diffusion.Sampling, steps int) string {
	s.Steps = steps
	if s.Validate() != nil {
		s.Spacing = ""
	}
	return s.StepsText()
}

// solverText returns text, or the text without a sampler if s is own with other steps, so that one
// sampling has one text.
func solverText(own, s diffusion.Sampling, text string) string {
	own.Steps, own.Spacing = s.Steps, s.Spacing
	if own.WithDefaults() == s.WithDefaults() {
		return s.StepsText()
	}
	return text
}

// parseSolver reads a policy after its stepsPrefix. The guidance is that of own. Whether there is
// such a sampler is not checked.
func parseSolver(own diffusion.Sampling, text string) (diffusion.Sampling, error) {
	s := own
	if sampler, steps, ok := strings.Cut(text, ":"); ok {
		s = diffusion.Sampling{
			Sampler:       strings.TrimRight(sampler, "0123456789"),
			Guidance:      own.Guidance,
			GuidancePower: own.GuidancePower,
			GuideAll:      own.GuideAll,
			Clip:          own.Clip,
			RNG:           own.RNG,
		}
		if order := sampler[len(s.Sampler):]; order != "" {
			var err error
			if s.Order, err = strconv.Atoi(order); err != nil {
				return s, fmt.Errorf("%s%s: want the order of a sampler, as in unipc3", stepsPrefix, text)
			}
		}
		text = steps
	}
	var err error
	if s.Steps, s.Spacing, err = diffusion.ParseSteps(text); err != nil {
		return s, err
	}
	return s.WithDefaults(), nil
}

// titleOfSolver returns the title of the method that a policy is of.
func (r *runner) titleOfSolver(policy string) string {
	text := strings.TrimPrefix(policy, stepsPrefix)
	sampler, _, other := strings.Cut(text, ":")
	if !other {
		return r.title(methodOf(ownSteps))
	}
	for _, m := range knownSolvers() {
		if prefix, _, ok := strings.Cut(m.solver, "%"); ok && strings.HasPrefix(text, prefix) && m.name != ownSteps {
			return m.title
		}
	}
	return sampler
}

// title returns the method's title in reports.
func (r *runner) title(m *method) string {
	if m.name == ownSteps {
		return strings.ToUpper(r.Sampling.Sampler) + ", " + m.title
	}
	return m.title
}

// markBest marks, for each speed and number format, the solver that is nearest to its reference: by
// the PSNR to the converged solution or, where there is none, by the Fréchet distance, or by the
// PSNR to the uncached images.
func markBest(cells []report.Cell) {
	type group struct{ best, count int }
	type place struct {
		wanted float64
		dtype  string
	}
	groups := map[place]*group{}
	for i := range cells {
		c := &cells[i]
		if c.Sampling == nil || c.Wanted == 0 || c.Error != "" {
			continue
		}
		at := place{c.Wanted, c.DType}
		g := groups[at]
		if g == nil {
			groups[at] = &group{i, 1}
			continue
		}
		if g.count++; nearer(c, &cells[g.best]) {
			g.best = i
		}
	}
	for _, g := range groups {
		if g.count > 1 {
			cells[g.best].Best = true
		}
	}
}

// nearer tells whether solver a is nearer to the reference than b.
func nearer(a, b *report.Cell) bool {
	switch {
	case a.PSNRConverged != nil && b.PSNRConverged != nil:
		return a.PSNRConverged.Mean > b.PSNRConverged.Mean
	case a.Frechet != nil && b.Frechet != nil:
		return a.Frechet.Value < b.Frechet.Value
	case a.PSNRUncached != nil && b.PSNRUncached != nil:
		return a.PSNRUncached.Mean > b.PSNRUncached.Mean
	}
	return false
}
