package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/calibrate"
	"github.com/tokencache/tokencache/internal/comparison"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// fit makes a policy of a method that is fitted to the model, in OUT/policies, as calibrate does with what it takes for granted; one that is there is taken.
func (c *compareCmd) fit(ctx context.Context, a *app, p *tokencache.Pipeline, o comparison.Options, method string, speed float64) (string, report.Calibration, error) {
	dir := filepath.Join(c.Out, "policies", fmt.Sprintf("%s-%gx", method, speed))
	cost := report.Calibration{Method: fmt.Sprintf("%s, %gx", method, speed)}
	cost.Command = fmt.Sprintf("tokencache calibrate --method %s --speed %gx --sampler %s --steps %s --cfg %g --measure %d --model %s --out %s", method, speed, o.Sampler, o.Steps, o.Guidance, c.Timed, c.Model, dir)
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
	a.note("fitting %s for %gx", method, speed)
	made := calibrate.Options{
		Dir: dir, Work: filepath.Join(c.Out, "policies", method+"-work"), Speed: speed, Sampler: o.Sampler, Steps: o.Steps, Guidance: o.Guidance, Power: o.Power, Seed: fitSeed,
		Images: fitImages, Updates: fitUpdates, Batch: fitBatch, LR: fitRate, Measure: c.Timed, Threads: c.Threads, Command: cost.Command, OnStage: o.OnStage,
		Open: func() (*dit.Weights, error) { return openWeights(c.Model, dit.Options{}) },
	}
	var t *reuse.Trained
	var err error
	if method == reuse.SmoothCacheMethod {
		t, err = calibrate.SmoothCache(ctx, p, calibrate.SmoothCacheOptions{Options: made})
	} else {
		t, err = calibrate.L2C(ctx, p, calibrate.L2COptions{Options: made, L1: fitCost})
	}
	if err != nil {
		return "", cost, err
	}
	cost.Seconds, _ = t.Provenance["seconds"].(float64)
	return dir, cost, nil
}

// What calibrate takes for granted for these methods.
const (
	fitSeed    = 1
	fitImages  = 32
	fitUpdates = 300
	fitBatch   = 8
	fitRate    = 0.05
	fitCost    = 0.0005
)
