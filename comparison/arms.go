package comparison

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// atSampler stands in the text of a run between a policy and the sampler that it is used with, as
// parseSolver reads it: taylorseer:n=2@unipc3:logsnr19.
const atSampler = "@"

// onSolvers are the policies that a search tries on top of other samplers, by the names of methods.
// As these have few steps, every second one is computed, or the first change is a large one.
var onSolvers = []struct{ method, policy string }{
	{"extrapolation", "tokencache:ratio=0,order=2,k=2"},
	{"fora", "fora:n=2"},
	{"taylorseer", "taylorseer:order=1,n=2"},
	{"hicache", "hicache:n=2"},
	{"last-block", "dpcache:n=2"},
	{"fbcache", "fbcache:threshold=0.1"},
	{guidanceCache, "fastercache:start=4"},
}

// searched are the speeds that policies are calibrated for in a search.
var searched = []float64{1.5, 2, 2.4, 3, 4, 5, 6, 8}

// bundledSpeeds are those that policies may be bundled for.
var bundledSpeeds = slices.Concat([]float64{1.2}, searched)

// quicker are the factors by which a policy is calibrated for more than the wanted speed, one after
// the other, where it misses that.
var quicker = []float64{1, 1.05, 1.1, 1.2}

// minSolverSteps is how few steps a solver is tried with.
const minSolverSteps = 4

// arms returns the candidates of the named methods, those that must be calibrated last. With own,
// cache policies on the sampling of the runner are among them, with others also samplers and
// policies on these.
func (r *runner) arms(names []string, t Target, own, others bool) []*arm {
	var list []*arm
	names = r.suitable(names)
	for _, name := range names {
		m := methodOf(name)
		switch {
		case m.isSolver() && others:
			list = append(list, r.solverArms(m, names)...)
		case !m.isSolver() && own:
			list = append(list, r.methodArm(m, t))
		}
	}
	list = slices.DeleteFunc(list, func(a *arm) bool { return len(a.rungs) == 0 })
	dear := func(a *arm) bool { return a.calibrated != "" }
	return slices.Concat(slices.DeleteFunc(slices.Clone(list), dear),
		slices.DeleteFunc(list, func(a *arm) bool { return !dear(a) }))
}

// methodArm returns the settings of a cache method on the runner's sampling.
func (r *runner) methodArm(m *method, t Target) *arm {
	a := &arm{title: r.title(m), calibrated: m.calibrated}
	for _, policy := range m.ladder {
		a.rungs = append(a.rungs, rung{policy: policy})
	}
	if m.name == learnedResidual {
		a.calibrated = reuse.TokenCacheMethod
		if a.rungs = r.bundledRungs(); len(a.rungs) > 0 {
			a.calibrated = ""
		}
	}
	if a.calibrated == "" {
		return a
	}
	speeds := searched
	if t.speed > 0 {
		speeds = nil
		for _, factor := range quicker {
			speeds = append(speeds, t.speed*factor)
		}
	}
	for _, speed := range speeds {
		a.rungs = append(a.rungs, rung{speed: speed})
	}
	return a
}

// bundledRungs are the policies that are bundled for the runner's sampling.
func (r *runner) bundledRungs() []rung {
	var list []rung
	if r.Bundled == nil {
		return nil
	}
	for _, speed := range bundledSpeeds {
		// An error is that the speed is beyond all of them.
		name, err := r.Bundled(speed)
		known := func(o rung) bool { return o.policy == name }
		if err == nil && name != "" && !slices.ContainsFunc(list, known) {
			list = append(list, rung{policy: name})
		}
	}
	return list
}

// solverArms returns a solver with every number of steps that it has, likewise with the other spacings
// of one that is spaced by log-SNR, and the policies of the named methods on top of it.
func (r *runner) solverArms(m *method, names []string) []*arm {
	plain := &arm{title: r.title(m), family: m.name}
	list := []*arm{plain}
	texts := r.solverLadder(m)
	for _, text := range texts {
		plain.rungs = append(plain.rungs, rung{policy: stepsPrefix + text})
	}
	for _, p := range onSolvers {
		if m.name == ownSteps || !slices.Contains(names, p.method) {
			continue
		}
		a := &arm{title: methodOf(p.method).title + " on " + plain.title}
		for _, text := range texts {
			a.rungs = append(a.rungs, rung{policy: p.policy + atSampler + text})
		}
		list = append(list, a)
	}
	return append(list, r.respacedArms(m)...)
}

// logSNRSpacing is how the solvers are spaced that have the best images at most costs.
const logSNRSpacing = "logsnr"

// respacedArms returns a solver that is spaced by log-SNR with every other spacing.
func (r *runner) respacedArms(m *method) []*arm {
	if !strings.Contains(m.solver, logSNRSpacing) {
		return nil
	}
	var list []*arm
	for _, spacing := range diffusion.Spacings() {
		if spacing == logSNRSpacing {
			continue
		}
		other := *m
		other.solver = strings.Replace(m.solver, logSNRSpacing, spacing, 1)
		a := &arm{title: strings.Replace(r.title(m), "log-SNR", spacing, 1), family: m.name}
		for _, text := range r.solverLadder(&other) {
			a.rungs = append(a.rungs, rung{policy: stepsPrefix + text})
		}
		list = append(list, a)
	}
	return list
}

// solverLadder returns a solver's samplings, as parseSolver reads them, with ever fewer steps.
func (r *runner) solverLadder(m *method) []string {
	all := r.plan.Steps()
	if m.name == ownSteps {
		all = r.Sampling.Steps
	}
	var list []string
	for n := all - 1; n >= minSolverSteps; n-- {
		text := fmt.Sprintf(m.solver, n)
		if m.name == ownSteps {
			text = ownStepsText(r.Sampling, n)
		}
		s, err := parseSolver(r.Sampling, text)
		if err == nil {
			_, err = r.Pipeline.Plan(s) // there may be none with so many steps
		}
		if err == nil {
			list = append(list, solverText(r.Sampling, s, text))
		}
	}
	return list
}

// cutSampler divides the text of a run into a policy and the sampler that it is used with, if there
// is one.
func cutSampler(own diffusion.Sampling, text string) (policy string, s diffusion.Sampling, ok bool) {
	i := strings.LastIndex(text, atSampler)
	if i < 0 || strings.ContainsAny(text[i:], `/\`) {
		return text, own, false
	}
	s, err := parseSolver(own, text[i+len(atSampler):])
	if err != nil {
		return text, own, false // the name of a folder may have the sign
	}
	return text[:i], s, true
}
