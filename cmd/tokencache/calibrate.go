package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/train"
)

type calibrateCmd struct {
	Model string `help:"Model: a path, or the name of an embedded one: ${models}. Default: ${model}." placeholder:"PATH|NAME"`
	VAE   string `name:"vae" help:"The model's autoencoder, as for generate." placeholder:"PATH"`
	samplingFlags
	Speed    string   `help:"Wanted speed by the clock, such as 2.4x: the share of tokens that P-steps compute, or another method's threshold, is found for it." placeholder:"X"`
	Ratio    *float64 `help:"Share of the tokens that P-steps compute, instead of --speed." placeholder:"R"`
	Policy   string   `help:"Parameters of the policy: ${fitSteps} (the default: P-steps compute nothing, and how to forecast them is learned), ${fitTokens} (the default with a --ratio above 0: a predictor is trained that chooses the tokens), ... See docs/tokencache.md." placeholder:"KEY=VALUE,..."`
	Percent  bool     `name:"percentile" help:"Put the I-steps at equal percentiles of how much the trajectories bend, instead of evenly."`
	Images   int      `help:"Trajectories of the model's own sampler that it learns from." default:"${fitImages}"`
	Updates  int      `help:"Updates of the predictor." default:"${fitUpdates}"`
	Batch    int      `help:"Examples of an update." default:"${fitBatch}"`
	LR       float64  `name:"lr" help:"Learning rate of the predictor." default:"0.0003"`
	Lambda   float64  `help:"Weight of the cost, the mean importance." default:"0.5"`
	Measure  int      `help:"Images of a measurement of speed." default:"8"`
	Trials   int      `help:"Placements of I-steps that are tried, where forecasts are learned; 0: they are placed evenly." default:"60"`
	Few      int      `help:"Images of such a trial." default:"16"`
	Halves   int      `help:"Half steps after each I-step, where forecasts are learned: only guidance's conditional half is computed." default:"0"`
	Weigh    string   `help:"How forecasts are fitted: pixels weighs all alike, survival weighs variations by how much of them the steps after leave, which suits ddpm." enum:"pixels,survival" default:"pixels"`
	Seed     uint64   `help:"Seed of trajectories and training." default:"${fitSeed}"`
	Out      string   `help:"Folder of the policy." placeholder:"DIR" required:""`
	Threads  int      `help:"Worker threads. Default: all processors." placeholder:"N"`
	Key      string   `help:"Which of several sets of weights in the checkpoint to take, as for generate." placeholder:"KEY"`
	HeadsOpt int      `name:"heads" help:"Attention heads, as for generate." placeholder:"N"`
	calibrateMethods
	calibrateTarget
	JSON bool `name:"json" help:"Print the policy as one JSON object on standard output."`
}

func (c *calibrateCmd) Help() string {
	return `Examples:
  tokencache calibrate --speed 2.4x --out policies/fast
  tokencache generate --policy policies/fast --compare --out compare.png
  tokencache calibrate --sampler ddpm --steps 250 --speed 3x --out policies/ddpm
  tokencache calibrate --policy importance=dynamic,k=3 --speed 2x --out policies/dynamic
  tokencache calibrate --method smoothcache --speed 2x --out policies/smooth
  tokencache calibrate --target "psnr>=40" --out policies/fastest

An interrupted calibration goes on where it was when it is started again.`
}

func (c *calibrateCmd) Run(a *app) error {
	if c.Target != "" {
		return c.seek(a)
	}
	base := *reuse.NewTokenCache()
	switch {
	case c.Policy != "":
	case c.Ratio != nil && *c.Ratio > 0:
		c.Policy = fitTokens
	default:
		c.Policy = fitSteps
	}
	for _, pair := range strings.Split(strings.TrimPrefix(c.Policy, "tokencache:"), ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("--policy: %q: want key=value", pair)
		}
		if err := base.Set(key, value); err != nil {
			return err
		}
	}
	speed, err := parseSpeed(c.Speed)
	if err != nil {
		return err
	}
	other, err := c.chosen(c.Speed, c.Ratio)
	switch {
	case err != nil:
		return err
	case other:
	case c.Speed != "" && c.Ratio != nil:
		return errors.New("give --speed or --ratio, not both")
	case c.Speed != "":
	case c.Ratio != nil:
		base.Ratio = *c.Ratio
	default:
		return errors.New("give the wanted speed (--speed 2.4x), what the images must be like (--target \"psnr>=40\"), or the share of tokens that P-steps compute (--ratio 0.25)")
	}
	if c.Images < 1 || c.Updates < 1 || c.Batch < 1 || c.Measure < 1 || c.Trials < 0 || c.Few < 1 || c.Halves < 0 {
		return errors.New("--images, --updates, --batch, --measure and --few: want 1 or more; --trials and --halves: 0 or more")
	}
	options := tokencache.Options{VAE: c.VAE, Threads: c.Threads, Key: c.Key, Heads: c.HeadsOpt}
	p, sampling, err := a.open(&c.Model, options, &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	bar := a.newProgress("calibrating")
	defer bar.finish()
	what := ""
	o := calibrate.Options{
		Dir: c.Out, Base: base, Percent: c.Percent, Speed: speed, Sampling: sampling, Seed: c.Seed,
		Images: c.Images, Updates: c.Updates, Batch: c.Batch, LR: c.LR, Lambda: c.Lambda, Measure: c.Measure, Trials: c.Trials, Few: c.Few, Halves: c.Halves, Weigh: calibrate.Weighing(c.Weigh), Threads: c.Threads,
		Command: "tokencache " + strings.Join(os.Args[1:], " "),
		Open: func() (*dit.Weights, error) {
			return models.ResolveWeights(a.ctx, c.Model, dit.Options{Key: c.Key, Heads: c.HeadsOpt})
		},
		OnStage: func(stage string) {
			what = stage
			a.note("%s", stage)
		},
		OnUpdate: func(r train.StepStats) {
			bar.set(float64(r.Step), float64(r.Steps))
			if r.Step%50 == 0 || r.Step == r.Steps {
				a.note("update %d/%d  error %.3f of the forecast's  mean importance %.3f", r.Step, r.Steps, r.Measures["error"], r.Measures["alpha"])
			}
		},
	}
	run := calibrate.Run
	if other {
		run = func(_ context.Context, p *tokencache.Pipeline, o calibrate.Options) (*reuse.Trained, error) {
			return c.run(a, bar, p, o)
		}
	}
	t, err := run(a.ctx, p, o)
	if err != nil {
		if a.ctx.Err() != nil && what != "" {
			a.note("stopped while %s; the same command goes on from there", what)
		}
		if diverged := (*train.DivergedError)(nil); errors.As(err, &diverged) {
			return fmt.Errorf("%w. Lower the learning rate (--lr)", err)
		}
		return err
	}
	bar.finish()
	if err := c.figures(a, p, t); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(t)
	}
	a.note("%s", t)
	a.note("%.2f times as fast by the clock, %.2f times fewer FLOPs; wrote %s", t.Speed.Wall, t.Speed.FLOPs, c.Out)
	return nil
}
