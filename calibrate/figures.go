package calibrate

import (
	"context"
	"path/filepath"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/redundancy"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/train"
)

// Figures writes figures of the policy that Run made into its folder: which steps are I-steps, the
// importance of tokens, and the loss of its predictor's training. onPart, which may be nil, is told
// how much is done.
func Figures(ctx context.Context, p *tokencache.Pipeline, t *reuse.Trained, o Options,
	onPart func(done, all float64)) error {
	req := tokencache.Request{Seed: o.Seed, Sampling: t.Sampling}
	const images = 2
	for i := range images {
		req.Classes = append(req.Classes, i%p.Config().NumClasses)
	}
	r, err := redundancy.RecordPolicy(ctx, p, redundancy.Options{Request: req, Policy: t, OnPart: onPart})
	if err != nil {
		return err
	}
	name := p.Config().Name()
	if _, err := r.DrawSchedule(o.Dir, name); err != nil {
		return err
	}
	if r.Importance != nil {
		if _, err := r.Importance.Draw(o.Dir, name, r.Images); err != nil {
			return err
		}
	}
	if t.Policy == nil || t.Policy.Predictor == nil {
		return nil
	}
	work := (&maker{Options: o}).work()
	return train.LossFigure(work, filepath.Join(o.Dir, "loss.png"), map[string]string{"loss": "loss of the predictor"})
}
