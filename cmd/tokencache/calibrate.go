package main

import (
	"errors"
	"fmt"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/train"
)

func (c *calibrateCmd) Help() string {
	return `Examples:
  tokencache calibrate --speed 2.4x --out policies/fast
  tokencache generate --policy policies/fast --compare --out compare.png
  tokencache calibrate --sampler ddpm --steps 250 --speed 3x --out policies/ddpm
  tokencache calibrate --policy importance=dynamic,k=3 --speed 2x --out policies/dynamic
  tokencache calibrate --method smoothcache --speed 2x --out policies/smooth
  tokencache calibrate --target "psnr>=40" --out policies/fastest

An interrupted calibration resumes when it is started again.`
}

func (c *calibrateCmd) Run(a *app) error {
	if c.Target != "" {
		return c.search(a)
	}
	method, err := c.method()
	if err != nil {
		return err
	}
	speed, err := parseSpeed(c.Speed)
	if err != nil {
		return err
	}
	p, sampling, err := a.open(&c.Model, c.options(), &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	bar := a.newProgress("calibrating")
	defer bar.finish()
	what := ""
	o := calibrate.Options{
		Dir:      c.Out,
		Sampling: sampling,
		Speed:    speed,
		Seed:     c.Seed,
		Images:   c.Images,
		Measure:  c.Measure,
		Threads:  c.Threads,
		Command:  commandLine(),
		Open: func() (*dit.Weights, error) {
			return models.ResolveWeights(a.ctx, c.Model, dit.Options{Key: c.Key, Heads: c.HeadsOpt})
		},
		OnStage: func(stage string) {
			what = stage
			a.note("%s", stage)
		},
		OnUpdate: func(s train.StepStats) { a.update(bar, s) },
	}
	t, err := calibrate.Run(a.ctx, p, method, o)
	if err != nil {
		if a.ctx.Err() != nil && what != "" {
			a.note("stopped while %s; the same command resumes from there", what)
		}
		if diverged := (*train.DivergedError)(nil); errors.As(err, &diverged) {
			return fmt.Errorf("%w. Lower the learning rate (--lr)", err)
		}
		return err
	}
	bar.finish()
	bar = a.newProgress("drawing figures")
	defer bar.finish()
	if err := calibrate.Figures(a.ctx, p, t, o, bar.set); err != nil {
		return err
	}
	bar.finish()
	if c.JSON {
		return a.printJSON(t)
	}
	a.note("%s", t)
	a.note("%.2f times as fast in wall-clock time, %.2f times fewer FLOPs; wrote %s",
		t.Speed.Wall, t.Speed.FLOPs, c.Out)
	return nil
}

func (c *calibrateCmd) options() tokencache.Options {
	return tokencache.Options{VAE: c.VAE, Threads: c.Threads, Key: c.Key, Heads: c.HeadsOpt}
}

// update shows an update of training.
func (a *app) update(bar *progress, s train.StepStats) {
	bar.set(float64(s.Step), float64(s.Steps))
	if s.Step%50 == 0 || s.Step == s.Steps {
		a.note("%s", calibrate.DescribeUpdate(s))
	}
}
