package main

import (
	"errors"
	"fmt"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/train"
)

// calibrateMethods are the flags of calibrate that choose a method other than TokenCache.
type calibrateMethods struct {
	Method    string   `help:"What to make: tokencache, smoothcache (a schedule from the errors of branches), teacache (the polynomial of its changes) or l2c (trained routers)." enum:"tokencache,smoothcache,teacache,l2c" default:"tokencache"`
	Threshold *float64 `help:"Of smoothcache the largest error (default 0.2), of teacache the sum of changes that computes anew (0.15), of l2c the weight above which a branch is computed (0.1). With --speed it is found by counting FLOPs." placeholder:"A"`
	Lookahead int      `help:"Of smoothcache: most steps in a row that reuse." default:"3"`
	RouterLR  float64  `name:"router-lr" help:"Of l2c: learning rate of the routers." default:"${fitRouterRate}"`
	L1        float64  `name:"l1" help:"Of l2c: weight of the cost, the sum of all weights." default:"${fitRouterCost}"`
}

// defaultThresholds are those of the methods that have one.
var defaultThresholds = map[string]float64{reuse.SmoothCacheMethod: 0.2, reuse.TeaCacheMethod: 0.15, reuse.L2CMethod: 0.1}

// chosen reports whether another method than TokenCache is wanted, and refuses flags that it has not.
func (c *calibrateMethods) chosen(speed string, ratio *float64) (bool, error) {
	switch {
	case c.Method == reuse.TokenCacheMethod && c.Threshold != nil:
		return false, fmt.Errorf("--threshold is for --method %s, %s and %s", reuse.SmoothCacheMethod, reuse.TeaCacheMethod, reuse.L2CMethod)
	case c.Method == reuse.TokenCacheMethod:
		return false, nil
	case ratio != nil:
		return false, fmt.Errorf("--ratio is for --method %s: the others have --threshold", reuse.TokenCacheMethod)
	case speed != "" && c.Threshold != nil:
		return false, errors.New("give --speed or --threshold, not both")
	}
	return true, nil
}

// run makes the policy of the method.
func (c *calibrateMethods) run(a *app, bar *progress, p *tokencache.Pipeline, o calibrate.Options) (*reuse.Trained, error) {
	threshold := or(c.Threshold, defaultThresholds[c.Method])
	if o.Speed > 0 {
		threshold = 0 // it is found
	}
	switch c.Method {
	case reuse.SmoothCacheMethod:
		return calibrate.SmoothCache(a.ctx, p, calibrate.SmoothCacheOptions{Options: o, Threshold: threshold, Lookahead: c.Lookahead})
	case reuse.TeaCacheMethod:
		return calibrate.TeaCache(a.ctx, p, calibrate.TeaCacheOptions{Options: o, Threshold: threshold})
	}
	o.LR = c.RouterLR
	o.OnUpdate = func(r train.StepStats) {
		bar.set(float64(r.Step), float64(r.Steps))
		if r.Step%50 == 0 || r.Step == r.Steps {
			a.note("update %d/%d  loss %.5f  sum of weights %.2f", r.Step, r.Steps, r.Measures["loss"], r.Measures["cost"])
		}
	}
	return calibrate.L2C(a.ctx, p, calibrate.L2COptions{Options: o, L1: c.L1, Threshold: threshold})
}
