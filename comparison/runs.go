package comparison

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// run is a policy to be measured.
type run struct {
	Method string  `json:"method"`          // its title
	Policy string  `json:"policy"`          // with stepsPrefix, a sampler without a cache
	Wanted float64 `json:"wanted"`          // speed
	DType  string  `json:"dtype,omitempty"` // number format, where it is not Options.Pipeline's
	Error  string  `json:"error,omitempty"`

	// Unreachable says that Error is no failure: the method has no setting at this speed.
	Unreachable bool `json:"unreachable,omitempty"`
}

// uncached is the run of the uncached model.
func uncached() run { return run{Method: report.Uncached, Policy: "none"} }

// isBase tells the run that all others are compared with.
func (s run) isBase() bool { return s.Method == report.Uncached && s.DType == "" }

// String names the run's policy for people.
func (s run) String() string {
	if s.DType != "" {
		return s.Policy + " in " + s.DType
	}
	return s.Policy
}

// pipeline returns what a run runs on.
func (r *runner) pipeline(s run) (*tokencache.Pipeline, error) {
	if s.DType == "" {
		return r.Pipeline, nil
	}
	for _, p := range r.Formats {
		if p.DType().String() == s.DType {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s: the model is not open in this number format", s.DType)
}

// runs lists what is to be measured, the uncached model first, in all number formats.
func (r *runner) runs(ctx context.Context) ([]run, error) {
	list, err := r.policies(ctx)
	if err != nil || len(r.Formats) == 0 {
		return list, err
	}
	var all []run
	for _, s := range list {
		all = append(all, s)
		if s.Error != "" { // there is nothing to run
			continue
		}
		for _, p := range r.Formats {
			s.DType = p.DType().String()
			all = append(all, s)
		}
	}
	return all, nil
}

// policies lists what is to be measured in one number format.
func (r *runner) policies(ctx context.Context) ([]run, error) {
	list := []run{uncached()}
	if r.Axes {
		crossed, err := r.axes(ctx)
		return append(list, crossed...), err
	}
	for _, name := range r.names() {
		m := methodOf(name)
		if m == nil {
			s, err := r.named(name)
			if err != nil {
				return nil, err
			}
			list = append(list, s)
			continue
		}
		if m.bundled != "" {
			if _, err := r.Open(m.bundled); err != nil {
				r.stage("%s is left out: %v", m.title, err)
				continue
			}
			list = append(list, run{Method: m.title, Policy: m.bundled})
			continue
		}
		for _, speed := range r.Speeds {
			s, ok := r.at(ctx, m, speed, false)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			known := func(o run) bool { return o.Policy == s.Policy && s.Error == "" }
			switch {
			case !ok:
				r.stage("%s is left out at %gx: no such policy is bundled for this model and sampling", m.title, speed)
			case slices.ContainsFunc(list, known):
				r.stage("%s at %gx: the nearest setting is that of another speed, %s", m.title, speed, s.Policy)
			default:
				list = append(list, s)
			}
		}
	}
	return list, nil
}

// names returns Options.Policies with All and fewerSteps written out.
func (r *runner) names() []string {
	var names []string
	for _, name := range r.Policies {
		switch name {
		case All:
			names = append(names, r.suitable(Methods())...)
		case fewerSteps:
			names = append(names, solverNames()...)
		default:
			names = append(names, name)
		}
	}
	return names
}

// suitable returns the names of methods without those that there is nothing for: a cache of guidance
// where there is none.
func (r *runner) suitable(names []string) []string {
	if r.Sampling.Guide().Enabled() {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == guidanceCache })
}

// named returns the run of a policy that is no method.
func (r *runner) named(policy string) (run, error) {
	if text, ok := strings.CutPrefix(policy, stepsPrefix); ok {
		s, err := parseSolver(r.Sampling, text)
		if err == nil {
			_, err = r.Pipeline.Plan(s)
		}
		return run{Method: r.titleOfSolver(policy), Policy: policy}, err
	}
	s := run{Method: titleOf(policy), Policy: policy}
	text, sampling, ok := cutSampler(r.Sampling, policy)
	p, err := r.Open(text)
	if at := strings.LastIndex(text, atSampler); err != nil && !ok && at >= 0 {
		_, solver := parseSolver(r.Sampling, text[at+len(atSampler):])
		err = fmt.Errorf("policy %s on the sampler %q: %w", text[:at], text[at+len(atSampler):], cmp.Or(solver, err))
	}
	if ok && err == nil {
		s.Method = fmt.Sprintf("%s on %s", titleOf(text), policy[len(text)+len(atSampler):])
		_, err = r.Pipeline.Plan(sampling)
	}
	if t, ok := p.(*reuse.Trained); ok && t.Policy != nil && t.Policy.Learned {
		s.Method = learnedTitle
	}
	return s, err
}

// at returns the run of a method at a speed: with the policy nearest to it or, with atLeast, the
// slowest that is not slower. ok is false where the method has none.
func (r *runner) at(ctx context.Context, m *method, speed float64, atLeast bool) (s run, ok bool) {
	s = run{Method: r.title(m), Wanted: speed}
	var err error
	switch {
	case m.isSolver():
		s.Policy, err = r.solverAt(m, speed)
	case m.name == learnedResidual && r.Bundled != nil:
		if s.Policy, err = r.Bundled(speed); err == nil && s.Policy == "" {
			return s, false
		}
	case m.name == learnedResidual:
		s.Policy, err = r.calibrate(ctx, reuse.TokenCacheMethod, speed)
	case m.calibrated != "":
		s.Policy, err = r.calibrate(ctx, m.calibrated, speed)
	default:
		r.stage("looking for %s at %gx", m.title, speed)
		s.Policy, err = r.nearest(ctx, m.ladder, speed, atLeast)
	}
	if err != nil {
		s.Error, s.Unreachable = err.Error(), unreachable(err)
	}
	return s, true
}

// nearest returns the policy of a ladder whose counted FLOPs fall nearest to the wanted factor;
// with atLeast, among those that fall by at least the factor. The ladder is nearly in order, so the
// search is a bisection that also tries both neighbours.
func (r *runner) nearest(ctx context.Context, ladder []string, wanted float64, atLeast bool) (string, error) {
	low, high := 0, len(ladder)-1
	for low < high {
		middle := (low + high) / 2
		got, err := r.reduction(ctx, ladder[middle])
		if err != nil {
			return "", err
		}
		if got < wanted {
			low = middle + 1
		} else {
			high = middle
		}
	}
	best, far, largest := "", math.Inf(1), 0.0
	for i := max(0, low-1); i <= min(len(ladder)-1, low+1); i++ {
		got, err := r.reduction(ctx, ladder[i])
		if err != nil {
			return "", err
		}
		largest = max(largest, got)
		if d := math.Abs(math.Log(got / wanted)); d < far && (!atLeast || got >= wanted) {
			best, far = ladder[i], d
		}
	}
	if best == "" || largest < wanted*(1-maxShort) {
		return "", &UnreachedError{Speed: wanted, FLOPs: largest}
	}
	return best, nil
}

// maxShort is the share by which a method's fastest setting may stay behind a speed and count as at
// it.
const maxShort = 0.05

// UnreachedError reports that no setting of a method is as fast as wanted.
type UnreachedError struct {
	Speed float64 // wanted, times the uncached model
	FLOPs float64 // times fewer FLOPs of the fastest setting
	Wall  float64 // its speed in wall-clock time, 0 where it was not measured
}

func (e *UnreachedError) Error() string {
	text := fmt.Sprintf("cannot reach %.4gx: its fastest setting computes %.2f times fewer FLOPs", e.Speed, e.FLOPs)
	if e.Wall > 0 {
		text += fmt.Sprintf(" and is %.2f times as fast in wall-clock time", e.Wall)
	}
	return text
}

// countedImages are those whose FLOPs are counted: a threshold computes different steps of
// different images.
const countedImages = 2

// reduction returns the factor by which a policy's FLOPs are fewer than the uncached model's,
// counted on few images.
func (r *runner) reduction(ctx context.Context, policy string) (float64, error) {
	if v, ok := r.counts.Fewer[policy]; ok {
		return v, nil
	}
	p, err := r.Open(policy)
	if err != nil {
		return 0, err
	}
	req := r.request(0, countedImages)
	req.Policy = p
	result, err := r.Pipeline.Generate(ctx, req)
	if err != nil {
		return 0, err
	}
	v := result.Stats.FLOPReduction()
	return v, r.counts.add(policy, v)
}

// policyOf returns the policy and the sampling of a run.
func (r *runner) policyOf(s run) (policy reuse.Policy, sampling diffusion.Sampling, err error) {
	switch {
	case s.Method == report.Uncached:
		return reuse.None{}, r.Sampling, nil
	case strings.HasPrefix(s.Policy, stepsPrefix):
		sampling, err = parseSolver(r.Sampling, strings.TrimPrefix(s.Policy, stepsPrefix))
		return reuse.None{}, sampling, err
	}
	text, sampling, _ := cutSampler(r.Sampling, s.Policy)
	policy, err = r.Open(text)
	return policy, sampling, err
}
