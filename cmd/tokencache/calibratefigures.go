package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/redundancy"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/train"
)

// figures writes pictures of a policy beside it: which steps are I-steps, how important its tokens are, and how its predictor was trained.
func (c *calibrateCmd) figures(a *app, p *tokencache.Pipeline, t *reuse.Trained) error {
	const images = 2
	req := tokencache.Request{Seed: c.Seed, Sampling: t.Sampling}
	for i := range images {
		req.Classes = append(req.Classes, i%p.Config().NumClasses)
	}
	bar := a.newProgress("drawing")
	r, err := redundancy.RecordPolicy(a.ctx, p, redundancy.Options{Request: req, Policy: t, OnPart: bar.set})
	bar.finish()
	if err != nil {
		return err
	}
	name := p.Config().Name()
	if _, err := r.DrawSchedule(c.Out, name); err != nil {
		return err
	}
	if r.Importance != nil {
		if _, err := r.Importance.Draw(c.Out, name, r.Images); err != nil {
			return err
		}
	}
	if t.Policy == nil || t.Policy.Predictor == nil {
		return nil
	}
	return drawLoss(filepath.Join(c.Out, "work"), filepath.Join(c.Out, "loss.png"))
}

// drawLoss draws the loss of the training run in dir, if there is one.
func drawLoss(dir, path string) error {
	reports, err := train.ReadLog(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	curve := report.Curve{Name: "loss of the predictor"}
	for _, r := range reports {
		curve.Steps, curve.Values = append(curve.Steps, r.Step), append(curve.Values, r.Measures["loss"])
	}
	return report.LossCurve(path, curve)
}
