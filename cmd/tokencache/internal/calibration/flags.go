// Package calibration has the flags that say which policy calibrate makes, and turns them into a
// method of package calibrate. It opens no model and makes no policy.
package calibration

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/reuse"
)

// Flags say what policy to make.
type Flags struct {
	Method    string   `help:"What to make: tokencache, smoothcache (a schedule from the errors of branches), teacache (the polynomial of its changes), magcache (the ratios of magnitudes), l2c (trained routers), dpcache, cem (full steps by dynamic programming), l2p (weights of forecasts), or learned-solver (no policy, but timesteps and weights for --sampler learned with as many --steps)." enum:"tokencache,smoothcache,teacache,magcache,l2c,dpcache,cem,l2p,learned-solver" default:"tokencache"`
	Speed     string   `help:"Wanted wall-clock speed, such as 2.4x: the share of tokens that P-steps compute, or another method's threshold or number of full steps, is found for it." placeholder:"X"`
	Ratio     *float64 `help:"Share of the tokens that P-steps compute, instead of --speed." placeholder:"R"`
	Policy    string   `help:"Parameters of the policy: ${forecastParameters} (the default: P-steps compute nothing, and their forecasts are learned), ${tokenParameters} (the default with a --ratio above 0: a predictor is trained that selects the tokens), ... See docs/tokencache.md." placeholder:"KEY=VALUE,..."`
	Paper     string   `help:"Make the policy of a version of the paper: v1 (static predictor, cached outputs, grid pruning in selected blocks, TPRR) or v2 (dynamic predictor, cached updates, global ratio, I-steps at percentiles of the importance). --ratio and --policy change its parameters." enum:"v1,v2," default:"" placeholder:"v1|v2"`
	Percent   bool     `name:"percentile" help:"Put the I-steps at equal percentiles of the importance that the predictor gives to all tokens, or without a predictor of how much the trajectories bend, instead of evenly. They are of --images samples, or ${percentileSamples} where those are fewer."`
	Images    int      `help:"Images of the model's own sampler to learn from." default:"${images}"`
	Updates   *int     `help:"Updates of the predictor, or of the routers. Default: ${updates}, with --paper ${paperUpdates}." placeholder:"N"`
	Batch     *int     `help:"Examples of an update. Default: ${batch}, with --paper ${paperBatch}." placeholder:"N"`
	LR        *float64 `name:"lr" help:"Learning rate of the predictor. Default: ${lr}, with --paper v1 ${paperLR}." placeholder:"X"`
	Lambda    float64  `help:"Weight of the cost, the mean importance; with --training path of its deviation from the ratio." default:"${lambda}"`
	Predictor string   `help:"Take the trained predictor of another policy. Default: one is trained." placeholder:"DIR"`
	Training  string   `help:"How the predictor is trained: soft, as in the paper, or path, with the tokens that sampling chooses, on its trajectories, by the model's output. Default: soft, with --paper path, since soft collapses there." enum:"soft,path," default:"" placeholder:"soft|path"`
	Rounds    *int     `help:"Times that --training path samples trajectories: at first with random tokens, then with those that the predictor chooses by then. Default: ${rounds}." placeholder:"N"`
	Measure   int      `help:"Images that the speed and the PSNR in the policy are measured on, of another seed than those that it learns from." default:"${measure}"`
	Trials    int      `help:"Placements of I-steps that are tried, where forecasts are learned; 0: they are placed evenly. Of learned-solver: moves of a timestep that are tried; 0: they stay where the bundled solver has them." default:"${trials}"`
	Placement string   `help:"How computed steps are placed between learned forecasts: dp, the cheapest of all placements by a model of their cost; search, the best of the --trials; best, the one of both that measures better, with single steps moved while that helps." enum:"dp,search,best" default:"${placement}"`
	Few       int      `help:"Images of such a trial." default:"${few}"`
	Halves    int      `help:"Half steps after each I-step, where forecasts are learned: only guidance's conditional half is computed." default:"0"`
	Weigh     string   `help:"How forecasts are learned: pixels weights all frequencies alike, survival weights them by the share that the remaining steps preserve, which suits ddpm." enum:"pixels,survival" default:"pixels"`
	Threshold *float64 `help:"Of smoothcache the largest error (default ${smoothThreshold}), of teacache the sum of changes that computes anew (${teaThreshold}), of magcache the largest error of magnitudes (${magThreshold}), of l2c the weight above which a branch is computed (${l2cThreshold}). With --speed it is found by counting FLOPs." placeholder:"A"`
	Lookahead int      `help:"Of smoothcache: the largest number of consecutive steps that reuse." default:"${lookahead}"`
	RouterLR  float64  `name:"router-lr" help:"Of l2c: learning rate of the routers." default:"${routerLR}"`
	L1        float64  `name:"l1" help:"Of l2c: weight of the cost, the sum of all weights." default:"${l1}"`
	Planned
}

// Planned are the flags of methods whose full steps are planned.
type Planned struct {
	Full    int    `help:"Of dpcache, cem and l2p: steps that compute everything, instead of --speed; 0: a third of the steps." default:"0"`
	Gaps    string `help:"Of cem: how the cost of a gap between full steps grows with its length." enum:"none,linear,quadratic" default:"${gaps}"`
	Feature string `help:"Of l2p: what is forecast, the model's output or the last block's." enum:"output,hidden" default:"${feature}"`
	Columns string `help:"Of l2p: the earlier steps that forecasts use, all or the computed ones." enum:"all,computed" default:"${columns}"`
}

// Vars are the defaults of calibrate's flags.
func Vars() kong.Vars {
	o, c, l := calibrate.Defaults(), calibrate.NewTokenCache(), calibrate.NewL2C()
	smooth := calibrate.NewSmoothCache()
	paper, err := calibrate.NewPaper(calibrate.PaperVersions()[0])
	if err != nil {
		panic(err) // a version that is listed
	}
	vars := kong.Vars{
		"forecastParameters": calibrate.ForecastParameters,
		"tokenParameters":    calibrate.TokenParameters,
		"searchMethods":      strings.Join(comparison.SearchMethods(), ","),
	}
	for name, v := range map[string]any{
		"seed":            o.Seed,
		"images":          o.Images,
		"measure":         o.Measure,
		"updates":         c.Updates,
		"rounds":          c.Rounds,
		"batch":           c.Batch,
		"lr":              c.LR,
		"lambda":          c.Lambda,
		"paperUpdates":    paper.Updates,
		"paperBatch":      paper.Batch,
		"paperLR":         paper.LR,
		"trials":          c.Trials,
		"placement":       c.Placement,
		"few":             c.Few,
		"smoothThreshold": smooth.Threshold,
		"lookahead":       smooth.Lookahead,
		"teaThreshold":    calibrate.NewTeaCache().Threshold,
		"magThreshold":    calibrate.NewMagCache().Threshold,
		"l2cThreshold":    l.Threshold,
		"routerLR":        l.LR,
		"l1":              l.L1,
		"gaps":            calibrate.NewCEM().Weight,
		"feature":         calibrate.NewL2P().Feature,
		"columns":         calibrate.NewL2P().Columns,
		"contractImages":  calibrate.DefaultContract().Images,
		"contractSeed":    calibrate.DefaultContract().Seed,

		"percentileSamples":  c.Samples,
		"contractConfidence": calibrate.DefaultContract().Confidence,
	} {
		vars[name] = fmt.Sprint(v)
	}
	return vars
}

// NewMethod returns the method with its parameters. Flags that CheckSet allows may still contradict
// each other.
func (c *Flags) NewMethod() (calibrate.Method, error) {
	switch {
	case c.Method == reuse.TokenCacheMethod:
		return c.tokenCache()
	case c.Full != 0 && c.Speed != "":
		return nil, errors.New("give --speed or --full, not both")
	case c.Speed != "" && c.Threshold != nil:
		return nil, errors.New("give --speed or --threshold, not both")
	}
	made, err := calibrate.NewMethod(c.Method)
	switch m := made.(type) {
	case *calibrate.SmoothCache:
		m.Threshold, m.Lookahead = or(c.Threshold, m.Threshold), c.Lookahead
	case *calibrate.TeaCache:
		m.Threshold = or(c.Threshold, m.Threshold)
	case *calibrate.MagCache:
		m.Threshold = or(c.Threshold, m.Threshold)
	case *calibrate.L2C:
		m.Threshold, m.L1, m.LR = or(c.Threshold, m.Threshold), c.L1, c.RouterLR
		m.Updates, m.Batch = or(c.Updates, m.Updates), or(c.Batch, m.Batch)
	case *calibrate.DPCache:
		m.Full = c.Full
	case *calibrate.CEM:
		m.Full, m.Weight = c.Full, calibrate.CEMWeight(c.Gaps)
	case *calibrate.L2P:
		m.Full, m.Feature, m.Columns = c.Full, c.Feature, calibrate.L2PColumns(c.Columns)
	}
	return made, err
}

// tokenCache returns TokenCache's method.
func (c *Flags) tokenCache() (*calibrate.TokenCache, error) {
	m, parameters, err := c.tokenCacheBase()
	if err != nil {
		return nil, err
	}
	m.Percentile = m.Percentile || c.Percent
	m.From, m.Training = c.Predictor, cmp.Or(calibrate.Training(c.Training), m.Training)
	m.Updates, m.Batch, m.LR, m.Lambda = or(c.Updates, m.Updates), or(c.Batch, m.Batch), or(c.LR, m.LR), c.Lambda
	m.Rounds = or(c.Rounds, m.Rounds)
	if c.Rounds != nil && m.Training != calibrate.PathTraining {
		return nil, fmt.Errorf("--rounds %d: rounds are of --training path", m.Rounds)
	}
	m.Placement = calibrate.Placement(c.Placement)
	m.Trials, m.Few, m.Halves, m.Weighting = c.Trials, c.Few, c.Halves, calibrate.Weighting(c.Weigh)
	if parameters != "" {
		if err := m.Set(parameters); err != nil {
			return nil, fmt.Errorf("--policy: %w", err)
		}
	}
	named := slices.ContainsFunc(strings.Split(parameters, ","), func(p string) bool { return strings.HasPrefix(p, "ratio=") })
	switch {
	case c.Speed != "" && c.Ratio != nil:
		return nil, errors.New("give --speed or --ratio, not both")
	case c.Speed == "" && c.Ratio == nil && c.Paper == "":
		return nil, errors.New("give the wanted speed (--speed 2.4x), what the images must be like " +
			"(--target \"psnr>=40\"), or the share of tokens that P-steps compute (--ratio 0.25)")
	case c.Speed != "" && named && m.Base.Ratio != 0 && !m.Base.Learned:
		return nil, fmt.Errorf("give --speed, for which the ratio is found, or --policy ratio=%g, not both", m.Base.Ratio)
	case c.Ratio != nil && named && *c.Ratio != m.Base.Ratio:
		return nil, fmt.Errorf("--ratio %g and --policy ratio=%g: give one of them", *c.Ratio, m.Base.Ratio)
	case c.Ratio != nil:
		m.Base.Ratio = *c.Ratio
	}
	return m, nil
}

// tokenCacheBase returns TokenCache's method and the parameters that it is then to have.
func (c *Flags) tokenCacheBase() (m *calibrate.TokenCache, parameters string, err error) {
	if c.Paper != "" {
		m, err = calibrate.NewPaper(c.Paper)
		return m, c.Policy, err
	}
	m = calibrate.NewTokenCache()
	m.Base = *reuse.NewTokenCache()
	switch {
	case c.Policy != "":
		return m, c.Policy, nil
	case c.Ratio != nil && *c.Ratio > 0:
		return m, calibrate.TokenParameters, nil
	}
	return m, calibrate.ForecastParameters, nil
}

// or returns what was given, or else the default.
func or[T any](given *T, standard T) T {
	if given == nil {
		return standard
	}
	return *given
}
