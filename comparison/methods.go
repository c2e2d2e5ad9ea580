package comparison

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/reuse"
)

// method is a cache method at all its speeds.
type method struct {
	name       string   // in Options.Policies
	title      string   // in reports
	ladder     []string // policies, from slow to fast
	calibrated string   // the method of calibration that makes a policy for each speed
	bundled    string   // the name of a policy that may be bundled with the model, for no speed
	solver     string   // of a sampler without a cache: its policy after stepsPrefix, by its steps
}

// numbered makes a ladder of a policy with one number.
func numbered(format string, values ...float64) []string {
	var list []string
	for _, v := range values {
		list = append(list, fmt.Sprintf(format, v))
	}
	return list
}

// learnedResidual is the method that is neither a list of policies nor calibrated only: of a model
// with bundled policies it is those.
const (
	learnedResidual = "learned-residual"
	learnedTitle    = "learned multistep on residuals (ours, after BNS and S4S)"
)

// guidanceCache is the method that does nothing without guidance.
const guidanceCache = "fastercache"

var methods = []method{
	{name: learnedResidual, title: learnedTitle},
	{name: "tokencache", title: "TokenCache, random tokens", ladder: tokens("random")},
	{name: "update-norm", title: "TokenCache, tokens by update norm", ladder: tokens("update-norm")},
	{name: "paper-v1", title: "TokenCache, the paper's first version", bundled: "paper-v1"},
	{name: "paper-v2", title: "TokenCache, the paper's second version", bundled: "paper-v2"},
	{
		name:   "extrapolation",
		title:  "no token, Newton order 2",
		ladder: numbered("tokencache:ratio=0,order=2,k=%g", 2, 3, 4, 5, 6, 7, 8),
	},
	{name: "fora", title: "FORA", ladder: numbered("fora:n=%g", 2, 3, 4, 5, 6, 7, 8)},
	{name: "taylorseer", title: "TaylorSeer", ladder: numbered("taylorseer:order=1,n=%g", 2, 3, 4, 5, 6, 7, 8)},
	{
		name:   "taylorseer2",
		title:  "TaylorSeer, order 2",
		ladder: numbered("taylorseer:order=2,n=%g", 2, 3, 4, 5, 6, 7, 8),
	},
	{
		name:   "taylorseer3",
		title:  "TaylorSeer, order 3",
		ladder: numbered("taylorseer:order=3,warmup=4,n=%g", 2, 3, 4, 5, 6, 7, 8),
	},
	{
		name:   "taylorseer3-warm",
		title:  "TaylorSeer, order 3, twice the warm-up",
		ladder: numbered("taylorseer:order=3,warmup=8,n=%g", 2, 3, 4, 5, 6, 7, 8),
	},
	{
		name:   "taylorseer4",
		title:  "TaylorSeer, order 4",
		ladder: numbered("taylorseer:order=4,warmup=5,n=%g", 2, 3, 4, 5, 6, 7, 8),
	},
	{
		name:   "taylorseer4-warm",
		title:  "TaylorSeer, order 4, twice the warm-up",
		ladder: numbered("taylorseer:order=4,warmup=10,n=%g", 2, 3, 4, 5, 6, 7, 8),
	},
	{name: "hicache", title: "HiCache", ladder: numbered("hicache:n=%g", 2, 3, 4, 5, 6, 7, 8)},
	{name: "speca", title: "SpeCa", ladder: specas()},
	{name: "speca-paper", title: "SpeCa, as in its paper", ladder: rejectingSpecas()},
	{name: "spectrum", title: "Spectrum", ladder: spectra()},
	{
		name:   "last-block",
		title:  "last block's output, Taylor order 2",
		ladder: numbered("dpcache:n=%g", 2, 3, 4, 5, 6, 7, 8),
	},
	{name: "dmd", title: "dynamic mode decomposition", ladder: numbered("dmd:n=%g", 2, 3, 4, 5, 6, 7, 8)},
	{name: "toca", title: "ToCa", ladder: tocas("toca")},
	{name: "duca", title: "DuCa", ladder: tocas("duca")},
	{name: "clusca", title: "ClusCa", ladder: numbered("clusca:n=%g", 2, 3, 4, 5, 6, 7, 8)},
	{name: "fbcache", title: "FBCache", ladder: numbered("fbcache:threshold=%g", thresholds...)},
	{name: "dbcache", title: "DBCache", ladder: slices.Concat(
		numbered("dbcache:threshold=%g", thresholds[:9]...),
		numbered("dbcache:front=1,back=1,threshold=%g", thresholds[7:]...),
	)},
	{
		name:   "dbcache-taylor",
		title:  "DBCache with TaylorSeer",
		ladder: numbered("dbcache:front=1,back=0,order=1,warmup=3,threshold=%g", thresholds...),
	},
	{name: "seacache", title: "SeaCache", ladder: numbered("seacache:threshold=%g", thresholds...)},
	{name: "easycache", title: "EasyCache", ladder: numbered("easycache:threshold=%g", thresholds...)},
	{name: reuse.MagCacheMethod, title: "MagCache", calibrated: reuse.MagCacheMethod},
	{name: guidanceCache, title: "FasterCache, guidance alone", ladder: guidanceCaches()},
	{name: "teacache-fitted", title: "TeaCache, fitted polynomial", calibrated: reuse.TeaCacheMethod},
	{name: "teacache", title: "TeaCache", ladder: numbered("teacache:threshold=%g", thresholds...)},
	{name: reuse.SmoothCacheMethod, title: "SmoothCache", calibrated: reuse.SmoothCacheMethod},
	{name: reuse.L2CMethod, title: "Learning-to-Cache", calibrated: reuse.L2CMethod},
	{name: reuse.DPCacheMethod, title: "DPCache", calibrated: reuse.DPCacheMethod},
	{name: reuse.CEMMethod, title: "CEM", calibrated: reuse.CEMMethod},
	{name: reuse.L2PMethod, title: "L2P", calibrated: reuse.L2PMethod},
	{name: "deltadit", title: "Delta-DiT", ladder: deltas()},
	{name: "tome", title: "token merging", ladder: numbered("tome:ratio=%g", 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)},
}

// thresholds are those of methods that compute a step after a large enough change, from slow to
// fast.
var thresholds = []float64{
	0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.13, 0.17, 0.22, 0.3, 0.4, 0.55, 0.75, 1, 1.5, 2,
}

// specas is SpeCa as its public code runs it, and the number of forecasts in a row that it allows.
func specas() []string {
	var list []string
	for _, most := range []int{2, 3, 4, 5, 6, 8} {
		list = append(list, fmt.Sprintf("speca:metric=l2,threshold=0.1,decay=0.5,min=%d,max=%d", min(2, most-1), most))
	}
	return list
}

// rejectingSpecas is SpeCa as in its paper: every forecast is verified, and one that fails is run again
// in full. Forecasts in a row alone make it up to 4 times as cheap, beyond that it has to tolerate
// larger errors.
func rejectingSpecas() []string {
	var list []string
	for _, s := range []struct {
		threshold float64
		inARow    int
	}{{0.1, 1}, {0.1, 2}, {0.1, 3}, {0.1, 4}, {0.1, 5}, {0.1, 6}, {0.1, 8}, {0.2, 8}, {0.4, 12}} {
		list = append(list,
			fmt.Sprintf("speca:metric=l2,threshold=%g,decay=0.5,min=0,max=%d,reject=true", s.threshold, s.inARow))
	}
	return list
}

// spectra is Spectrum with periods of full steps that grow.
func spectra() []string {
	var list []string
	for _, s := range []struct{ window, flex float64 }{
		{2, 0}, {2, 0.05}, {2, 0.1}, {2, 0.25}, {3, 0.1}, {3, 0.25}, {4, 0.25}, {4, 0.5}, {5, 0.75}, {6, 1}, {7, 1.5},
	} {
		list = append(list, fmt.Sprintf("spectrum:window=%g,flex=%g", s.window, s.flex))
	}
	return list
}

// guidanceCaches is FasterCache's guidance cache, from ever earlier steps on.
func guidanceCaches() []string {
	return numbered("fastercache:start=%g", 34, 26, 18, 10, 4)
}

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

// tokens is TokenCache with unlearned selection: as the period grows, the share of the tokens
// falls. Its defaults are one of these.
func tokens(importance string) []string { return tokensWith("importance=" + importance) }

// tokensWith is TokenCache with other parameters likewise.
func tokensWith(parameters string) []string {
	var list []string
	for _, s := range []struct {
		k     int
		ratio float64
	}{
		{2, 0.6}, {2, 0.4}, {2, 0.25}, {3, 0.4}, {3, 0.25}, {3, 0.15},
		{3, 0.1}, {4, 0.2}, {4, 0.1}, {5, 0.1}, {6, 0.1}, {6, 0.05}, {8, 0.05},
	} {
		list = append(list, fmt.Sprintf("tokencache:%s,ratio=%g,k=%d", parameters, s.ratio, s.k))
	}
	return list
}

func tocas(name string) []string {
	var list []string
	for _, s := range []struct {
		n     int
		ratio float64
	}{
		{2, 0.5}, {2, 0.25}, {2, 0.1}, {3, 0.25}, {3, 0.1}, {4, 0.1}, {5, 0.1}, {6, 0.1}, {8, 0.05}, {10, 0.05},
	} {
		list = append(list, fmt.Sprintf("%s:n=%d,ratio=%g", name, s.n, s.ratio))
	}
	return list
}

// All is the name in Options.Policies that stands for all methods.
const All = "all"

// Quick lists the methods of a first comparison: without those that are calibrated, and without
// variants and controls.
func Quick() []string {
	return []string{
		learnedResidual, fewerSteps, "extrapolation", "fora", "taylorseer",
		"toca", "fbcache", "teacache", "deltadit", "tome",
	}
}

// allMethods are the solvers and the cache methods.
func allMethods() []method { return slices.Concat(knownSolvers(), methods) }

// Methods lists the names of the methods, solvers first.
func Methods() []string {
	var names []string
	for _, m := range allMethods() {
		names = append(names, m.name)
	}
	return names
}

// IsMethod reports whether a name in Options.Policies is that of a method, or of several, which is run
// at all speeds.
func IsMethod(name string) bool { return name == All || name == fewerSteps || methodOf(name) != nil }

// methodOf returns the method of a name, or nil.
func methodOf(name string) *method {
	all := allMethods()
	i := slices.IndexFunc(all, func(m method) bool { return m.name == name })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// titleOf returns the method's title in reports of a policy that is no method.
func titleOf(policy string) string {
	name, _, _ := strings.Cut(policy, ":")
	if m := methodOf(name); m != nil && m.name != "tokencache" { // of which there are many kinds
		return m.title
	}
	return policy
}

// SplitPolicies divides a list of policies at spaces or, if it has none, at commas that do not
// stand within a policy's parameters.
func SplitPolicies(text string) []string {
	if fields := strings.Fields(text); len(fields) > 1 {
		return fields
	}
	var list []string
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		if part == "" {
			continue
		}
		key, _, isParameter := strings.Cut(part, "=")
		parameter := isParameter && !strings.Contains(key, ":") && !strings.HasPrefix(part, stepsPrefix)
		if n := len(list); n > 0 && parameter && strings.Contains(list[n-1], ":") {
			list[n-1] += "," + part
		} else {
			list = append(list, part)
		}
	}
	return list
}
