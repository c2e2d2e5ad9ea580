package calibrate

import (
	"context"
	"errors"
	"io/fs"
	"os"
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
	subjects, err := p.SubjectsOr(o.Subjects)
	if err != nil {
		return err
	}
	req := tokencache.Request{Seed: o.Seed, Sampling: t.Sampling}
	const images = 2
	subjects.Cycle(&req, images)
	r, err := redundancy.RecordPolicy(ctx, p, redundancy.Options{Request: req, Policy: t, OnPart: onPart})
	if err != nil {
		return err
	}
	name := p.Name()
	if r.Importance != nil {
		if _, err := r.Importance.Draw(o.Dir, name, r.Images); err != nil {
			return err
		}
	}
	if t.Policy != nil && t.Policy.Predictor != nil {
		work, names := (&maker{Options: o}).work(), map[string]string{"loss": "loss of the predictor"}
		if err := train.LossFigure(work, filepath.Join(o.Dir, lossFigure), names); err != nil {
			return err
		}
	}
	_, err = r.DrawSchedule(o.Dir, name)
	return err
}

const (
	lossFigure = "loss.png"
	lastFigure = redundancy.ScheduleFile
)

// Files returns the names of the files that Run and Figures write to a policy's folder.
func Files() []string {
	return []string{reuse.PolicyFile, reuse.PredictorFile, SolversFile, redundancy.AlphaFile, lossFigure, lastFigure}
}

// WorkFolder is the folder in a policy's folder in which an interrupted calibration keeps its
// state.
const WorkFolder = "work"

// Finished reports whether dir holds a policy with all its figures.
func Finished(dir string) bool {
	for _, name := range []string{reuse.PolicyFile, lastFigure} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// Remove removes the policy in dir and its figures, but not the state in WorkFolder.
func Remove(dir string) error {
	for _, name := range Files() {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
