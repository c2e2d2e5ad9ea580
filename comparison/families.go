package comparison

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// family is a cache method at all its speeds.
type family struct {
	name   string   // as --policies takes it
	title  string   // as reports call it
	ladder []string // policies, from slow to fast
	fitted bool     // a policy is fitted to the model for each speed, by Options.Fit
}

// numbered makes a ladder of a policy with one number.
func numbered(format string, values ...float64) []string {
	var list []string
	for _, v := range values {
		list = append(list, fmt.Sprintf(format, v))
	}
	return list
}

// shippedFamily and stepsFamily are the families that are no list of policies.
const (
	shippedFamily = "tokencache"
	shippedTitle  = "TokenCache"
	stepsFamily   = "fewer-steps"
)

var families = []family{
	{name: shippedFamily, title: shippedTitle},
	{name: stepsFamily, title: "fewer steps"},
	{name: "extrapolation", title: "TokenCache, no token, order 2", ladder: numbered("tokencache:ratio=0,order=2,k=%g", 2, 3, 4, 5, 6, 7, 8)},
	{name: "update-norm", title: "TokenCache, tokens by update norm", ladder: tokens("update-norm")},
	{name: "random", title: "TokenCache, random tokens", ladder: tokens("random")},
	{name: "fora", title: "FORA", ladder: numbered("fora:n=%g", 2, 3, 4, 5, 6, 7, 8)},
	{name: "taylorseer", title: "TaylorSeer", ladder: numbered("taylorseer:order=1,n=%g", 2, 3, 4, 5, 6, 7, 8)},
	{name: "taylorseer2", title: "TaylorSeer, order 2", ladder: numbered("taylorseer:order=2,n=%g", 2, 3, 4, 5, 6, 7, 8)},
	{name: "toca", title: "ToCa", ladder: tocas("toca")},
	{name: "duca", title: "DuCa", ladder: tocas("duca")},
	{name: "fbcache", title: "FBCache", ladder: numbered("fbcache:threshold=%g", thresholds...)},
	{name: "dbcache", title: "DBCache", ladder: append(numbered("dbcache:threshold=%g", thresholds[:9]...), numbered("dbcache:front=1,back=1,threshold=%g", thresholds[7:]...)...)},
	{name: "teacache", title: "TeaCache", ladder: numbered("teacache:threshold=%g", thresholds...)},
	{name: reuse.SmoothCacheMethod, title: "SmoothCache", fitted: true},
	{name: reuse.L2CMethod, title: "Learning-to-Cache", fitted: true},
	{name: "deltadit", title: "Delta-DiT", ladder: deltas()},
	{name: "tome", title: "token merging", ladder: numbered("tome:ratio=%g", 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)},
}

// thresholds are those of methods that compute a step when something has changed by so much, from careful to careless.
var thresholds = []float64{0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.13, 0.17, 0.22, 0.3, 0.4, 0.55, 0.75, 1, 1.5, 2}

func deltas() []string {
	var list []string
	for _, s := range []struct {
		n    int
		span float64
	}{{2, 0.3}, {2, 0.5}, {3, 0.5}, {3, 0.7}, {4, 0.7}, {4, 0.8}, {5, 0.8}, {6, 0.9}, {8, 0.9}} {
		list = append(list, fmt.Sprintf("deltadit:n=%d,span=%g", s.n, s.span))
	}
	return list
}

// tokens is TokenCache with naive choice: period and share of the tokens rise and fall together.
func tokens(importance string) []string {
	var list []string
	for _, s := range []struct {
		k     int
		ratio float64
	}{{2, 0.6}, {2, 0.4}, {2, 0.25}, {3, 0.4}, {3, 0.25}, {3, 0.15}, {4, 0.2}, {4, 0.1}, {5, 0.1}, {6, 0.1}, {6, 0.05}, {8, 0.05}} {
		list = append(list, fmt.Sprintf("tokencache:importance=%s,order=1,ratio=%g,k=%d", importance, s.ratio, s.k))
	}
	return list
}

func tocas(name string) []string {
	var list []string
	for _, s := range []struct {
		n     int
		ratio float64
	}{{2, 0.5}, {2, 0.25}, {2, 0.1}, {3, 0.25}, {3, 0.1}, {4, 0.1}, {5, 0.1}, {6, 0.1}, {8, 0.05}, {10, 0.05}} {
		list = append(list, fmt.Sprintf("%s:n=%d,ratio=%g", name, s.n, s.ratio))
	}
	return list
}

// All is the name that stands for all families.
const All = "all"

// Quick lists the families that a first look needs: without what must be fitted to the model, and without variants and controls.
func Quick() []string {
	return []string{shippedFamily, stepsFamily, "extrapolation", "fora", "taylorseer", "toca", "fbcache", "teacache", "deltadit", "tome"}
}

// Families lists the names that stand for a method at all speeds.
func Families() []string {
	var names []string
	for _, f := range families {
		names = append(names, f.name)
	}
	return names
}

// subject is what one cell measures.
type subject struct {
	Method string  `json:"method"`
	Policy string  `json:"policy"` // stepsPrefix and a number for fewer steps
	Wanted float64 `json:"wanted"`
	Error  string  `json:"error,omitempty"`
}

// stepsPrefix begins the policy of fewer steps.
const stepsPrefix = "steps="

// nearest returns the policy of a ladder whose counted FLOPs fall nearest to the wanted factor; with atLeast, of those that fall by as much. The ladder is nearly in order, so the search is a bisection and a look at
// both neighbours.
func (r *run) nearest(ctx context.Context, ladder []string, wanted float64, atLeast bool) (string, error) {
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
	best, far, most := "", math.Inf(1), 0.0
	for i := max(0, low-1); i <= min(len(ladder)-1, low+1); i++ {
		got, err := r.reduction(ctx, ladder[i])
		if err != nil {
			return "", err
		}
		most = max(most, got)
		if d := math.Abs(math.Log(got / wanted)); d < far && (!atLeast || got >= wanted) {
			best, far = ladder[i], d
		}
	}
	if best == "" {
		return "", fmt.Errorf("no setting that is tried computes %.4g times fewer FLOPs, at most %.2f times", wanted, most)
	}
	return best, nil
}

// reduction returns by what factor a policy's FLOPs are fewer than the uncached model's, counted on few images.
func (r *run) reduction(ctx context.Context, policy string) (float64, error) {
	if v, ok := r.counts.Fewer[policy]; ok {
		return v, nil
	}
	p, err := r.Open(policy)
	if err != nil {
		return 0, err
	}
	const images = 2 // what a threshold computes differs from image to image
	req := r.request(0, images)
	req.Policy = p
	result, err := r.Pipeline.Generate(ctx, req)
	if err != nil {
		return 0, err
	}
	v := float64(result.Stats.UncachedFLOPs) / float64(result.Stats.FLOPs)
	return v, r.counts.add(policy, v)
}

// policyOf returns the policy and the steps of a subject.
func (r *run) policyOf(s subject) (policy reuse.Policy, sampling diffusion.Sampling, err error) {
	switch {
	case s.Method == report.Uncached:
		return reuse.None{}, r.Sampling, nil
	case len(s.Policy) > len(stepsPrefix) && s.Policy[:len(stepsPrefix)] == stepsPrefix:
		sampling = r.Sampling
		sampling.Steps, sampling.Spacing, err = diffusion.ParseSteps(s.Policy[len(stepsPrefix):])
		return reuse.None{}, sampling, err
	}
	policy, err = r.Open(s.Policy)
	return policy, r.Sampling, err
}

// fewer returns how many steps give a speed.
func fewer(plan int, speed float64) string {
	return strconv.Itoa(max(1, int(math.Round(float64(plan)/speed))))
}
