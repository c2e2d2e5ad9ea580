package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/alecthomas/kong"
	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// What calibrate takes for granted.
const (
	fitSeed       = 1
	fitSteps      = "ratio=0,learned=true"
	fitTokens     = "importance=dynamic,k=3,order=1"
	fitImages     = 32
	fitUpdates    = 300
	fitBatch      = 8
	fitRouterRate = 0.05
	fitRouterCost = 0.0005
)

// fitVars are these for the help.
var fitVars = kong.Vars{
	"fitSteps": fitSteps, "fitTokens": fitTokens,
	"fitSeed": strconv.Itoa(fitSeed), "fitImages": strconv.Itoa(fitImages), "fitUpdates": strconv.Itoa(fitUpdates), "fitBatch": strconv.Itoa(fitBatch),
	"fitRouterRate": fmt.Sprint(fitRouterRate), "fitRouterCost": fmt.Sprint(fitRouterCost),
}

// fitter fits methods to a model for a comparison, as calibrate does with what it takes for granted.
type fitter struct {
	a       *app
	p       *tokencache.Pipeline
	model   string
	key     string // of the model's weights: see tokencache.Options
	dir     string // of the policies made, a folder for each; one that is there is taken
	measure int    // images of a measurement of speed
	threads int
	trials  int // placements of I-steps of a TokenCache
	few     int // images of each
	o       comparison.Options
}

// fit makes a policy of a method for a speed, and returns its folder and what it took.
func (f *fitter) fit(ctx context.Context, method string, speed float64) (string, report.Calibration, error) {
	dir := filepath.Join(f.dir, fmt.Sprintf("%s-%gx", method, speed))
	cost := report.Calibration{Method: fmt.Sprintf("%s, %gx", method, speed)}
	cost.Command = fmt.Sprintf("tokencache calibrate --method %s --speed %gx --sampler %s --steps %s --cfg %g --measure %d --model %s --out %s", method, speed, f.o.Sampler, f.o.StepsText(), f.o.Guidance, f.measure, f.model, dir)
	if method == reuse.TokenCacheMethod {
		cost.Command += fmt.Sprintf(" --trials %d --few %d", f.trials, f.few)
	}
	if _, err := os.Stat(filepath.Join(dir, reuse.PolicyFile)); err == nil {
		policy, err := reuse.Open(dir)
		if err != nil {
			return "", cost, err
		}
		cost.Seconds, _ = policy.Provenance["seconds"].(float64)
		return dir, cost, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", cost, err
	}
	f.a.note("fitting %s for %gx", method, speed)
	made := calibrate.Options{
		Dir: dir, Work: filepath.Join(f.dir, method+"-work"), Speed: speed, Sampling: f.o.Sampling, Seed: fitSeed,
		Images: fitImages, Updates: fitUpdates, Batch: fitBatch, LR: fitRouterRate, Measure: f.measure, Threads: f.threads, Trials: f.trials, Few: f.few, Command: cost.Command, OnStage: f.o.OnStage,
		Open: func() (*dit.Weights, error) { return models.ResolveWeights(f.a.ctx, f.model, dit.Options{Key: f.key}) },
	}
	var t *reuse.Trained
	var err error
	switch method {
	case reuse.TokenCacheMethod:
		made.Base = *reuse.NewTokenCache()
		made.Base.Ratio, made.Base.Learned = 0, true
		t, err = calibrate.Run(ctx, f.p, made)
	case reuse.SmoothCacheMethod:
		t, err = calibrate.SmoothCache(ctx, f.p, calibrate.SmoothCacheOptions{Options: made})
	default:
		t, err = calibrate.L2C(ctx, f.p, calibrate.L2COptions{Options: made, L1: fitRouterCost})
	}
	if err != nil {
		return "", cost, err
	}
	cost.Seconds, _ = t.Provenance["seconds"].(float64)
	return dir, cost, nil
}
