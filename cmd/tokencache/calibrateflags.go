package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/reuse"
)

type calibrateCmd struct {
	Model string `once:"" help:"Model: a path, or the name of an embedded one: ${models}. Default: ${model}." placeholder:"PATH|NAME"`
	VAE   string `name:"vae" help:"The model's autoencoder, as for generate." placeholder:"PATH"`
	samplingFlags
	Method    string   `help:"What to make: tokencache, smoothcache (a schedule from the errors of branches), teacache (the polynomial of its changes) or l2c (trained routers)." enum:"tokencache,smoothcache,teacache,l2c" default:"tokencache"`
	Speed     string   `help:"Wanted wall-clock speed, such as 2.4x: the share of tokens that P-steps compute, or another method's threshold, is found for it." placeholder:"X"`
	Ratio     *float64 `help:"Share of the tokens that P-steps compute, instead of --speed." placeholder:"R"`
	Policy    string   `help:"Parameters of the policy: ${forecastParameters} (the default: P-steps compute nothing, and their forecasts are learned), ${tokenParameters} (the default with a --ratio above 0: a predictor is trained that selects the tokens), ... See docs/tokencache.md." placeholder:"KEY=VALUE,..."`
	Percent   bool     `name:"percentile" help:"Put the I-steps at equal percentiles of how much the trajectories bend, instead of evenly."`
	Images    int      `help:"Images of the model's own sampler to learn from." default:"${images}"`
	Updates   int      `help:"Updates of the predictor, or of the routers." default:"${updates}"`
	Batch     int      `help:"Examples of an update." default:"${batch}"`
	LR        float64  `name:"lr" help:"Learning rate of the predictor." default:"${lr}"`
	Lambda    float64  `help:"Weight of the cost, the mean importance." default:"${lambda}"`
	Measure   int      `help:"Images of a measurement of speed." default:"${measure}"`
	Trials    int      `help:"Placements of I-steps that are tried, where forecasts are learned; 0: they are placed evenly." default:"${trials}"`
	Few       int      `help:"Images of such a trial." default:"${few}"`
	Halves    int      `help:"Half steps after each I-step, where forecasts are learned: only guidance's conditional half is computed." default:"0"`
	Weigh     string   `help:"How forecasts are learned: pixels weights all frequencies alike, survival weights them by the share that the remaining steps preserve, which suits ddpm." enum:"pixels,survival" default:"pixels"`
	Threshold *float64 `help:"Of smoothcache the largest error (default ${smoothThreshold}), of teacache the sum of changes that computes anew (${teaThreshold}), of l2c the weight above which a branch is computed (${l2cThreshold}). With --speed it is found by counting FLOPs." placeholder:"A"`
	Lookahead int      `help:"Of smoothcache: the largest number of consecutive steps that reuse." default:"${lookahead}"`
	RouterLR  float64  `name:"router-lr" help:"Of l2c: learning rate of the routers." default:"${routerLR}"`
	L1        float64  `name:"l1" help:"Of l2c: weight of the cost, the sum of all weights." default:"${l1}"`
	Seed      uint64   `help:"Seed of images and training." default:"${seed}"`
	Out       string   `once:"" help:"Folder of the policy." placeholder:"DIR" required:""`
	Overwrite bool     `help:"Make the policy anew where --out holds a finished one."`
	Threads   int      `help:"Worker threads. Default: all processors." placeholder:"N"`
	Key       string   `help:"Which of several sets of weights in the checkpoint to take, as for generate." placeholder:"KEY"`
	HeadsOpt  int      `name:"heads" help:"Attention heads, as for generate." placeholder:"N"`
	calibrateTarget
	JSON bool `name:"json" help:"Print the policy as one JSON object on standard output."`
}

// calibrateTarget are the flags of calibrate that search among methods for what meets a target.
type calibrateTarget struct {
	Target    string `help:"Try methods and their parameters, and make the best policy that meets this: psnr>=30 or fd<=+4% (the fastest with a PSNR to the uncached images of 30 dB, or with a Fréchet distance at most 4 % above theirs), or speed=2x (the nearest images at that speed)." placeholder:"TARGET"`
	Methods   string `help:"Of --target: methods to try, by the names that compare has for them. Default: all except fewer steps, the controls and l2c." default:"${searchMethods}" placeholder:"NAME,..."`
	Evidence  int    `help:"Of --target: images of each policy that is tried." default:"32"`
	Reference string `help:"Of --target: real images, as for compare." placeholder:"PATH"`
}

// calibrateVars are the defaults of calibrate's flags.
func calibrateVars() kong.Vars {
	o, c, l := calibrate.Defaults(), calibrate.NewTokenCache(), calibrate.NewL2C()
	smooth := calibrate.NewSmoothCache()
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
		"batch":           c.Batch,
		"lr":              c.LR,
		"lambda":          c.Lambda,
		"trials":          c.Trials,
		"few":             c.Few,
		"smoothThreshold": smooth.Threshold,
		"lookahead":       smooth.Lookahead,
		"teaThreshold":    calibrate.NewTeaCache().Threshold,
		"l2cThreshold":    l.Threshold,
		"routerLR":        l.LR,
		"l1":              l.L1,
	} {
		vars[name] = fmt.Sprint(v)
	}
	return vars
}

// method returns the method with its parameters, and refuses flags that do not go with it.
func (c *calibrateCmd) method() (calibrate.Method, error) {
	switch {
	case c.Method == reuse.TokenCacheMethod && c.Threshold != nil:
		return nil, fmt.Errorf("--threshold is for --method %s, %s and %s",
			reuse.SmoothCacheMethod, reuse.TeaCacheMethod, reuse.L2CMethod)
	case c.Method == reuse.TokenCacheMethod:
		return c.tokenCache()
	case c.Ratio != nil:
		return nil, fmt.Errorf("--ratio is for --method %s: the others have --threshold", reuse.TokenCacheMethod)
	case c.Speed != "" && c.Threshold != nil:
		return nil, errors.New("give --speed or --threshold, not both")
	}
	made, err := calibrate.NewMethod(c.Method)
	switch m := made.(type) {
	case *calibrate.SmoothCache:
		m.Threshold, m.Lookahead = or(c.Threshold, m.Threshold), c.Lookahead
	case *calibrate.TeaCache:
		m.Threshold = or(c.Threshold, m.Threshold)
	case *calibrate.L2C:
		m.Threshold, m.L1, m.LR = or(c.Threshold, m.Threshold), c.L1, c.RouterLR
		m.Updates, m.Batch = c.Updates, c.Batch
	}
	return made, err
}

// tokenCache returns TokenCache's method.
func (c *calibrateCmd) tokenCache() (calibrate.Method, error) {
	m := &calibrate.TokenCache{
		Base:       *reuse.NewTokenCache(),
		Percentile: c.Percent,
		Updates:    c.Updates,
		Batch:      c.Batch,
		LR:         c.LR,
		Lambda:     c.Lambda,
		Trials:     c.Trials,
		Few:        c.Few,
		Halves:     c.Halves,
		Weighting:  calibrate.Weighting(c.Weigh),
	}
	if c.Policy == "" {
		c.Policy = calibrate.ForecastParameters
		if c.Ratio != nil && *c.Ratio > 0 {
			c.Policy = calibrate.TokenParameters
		}
	}
	if err := m.Set(c.Policy); err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	switch {
	case c.Speed != "" && c.Ratio != nil:
		return nil, errors.New("give --speed or --ratio, not both")
	case c.Speed == "" && c.Ratio == nil:
		return nil, errors.New("give the wanted speed (--speed 2.4x), what the images must be like " +
			"(--target \"psnr>=40\"), or the share of tokens that P-steps compute (--ratio 0.25)")
	case c.Ratio != nil:
		m.Base.Ratio = *c.Ratio
	}
	return m, nil
}
