package main

import (
	"fmt"
	"path/filepath"

	"github.com/tokencache/tokencache/calibrate"
)

// solver fits a learned solver and adds it to the file of those in the folder.
func (c *calibrateCmd) solver(a *app) error {
	if c.Speed != "" || c.Ratio != nil || c.Threshold != nil || c.Policy != "" {
		return fmt.Errorf("--speed, --ratio, --threshold and --policy are for policies: "+
			"--method %s has --steps alone", calibrate.LearnedSolverMethod)
	}
	p, sampling, err := a.openClasses(&c.Model, c.options(), &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	s := calibrate.NewSolver()
	s.Trials, s.Few = c.Trials, c.Few
	l, err := s.Run(a.ctx, p, calibrate.Options{
		Dir:      c.Out,
		Sampling: sampling,
		Seed:     c.Seed,
		Images:   c.Images,
		Measure:  c.Measure,
		Command:  commandLine(),
		Open:     c.weights(a),
		OnStage:  func(stage string) { a.note("%s", stage) },
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(l)
	}
	if f, ok := l.Provenance["unseen"].(calibrate.Fidelity); ok {
		a.note("%.2f dB to the converged solution on %d unseen images, the worst %.2f dB", f.Mean, f.Images, f.Min)
	}
	a.note("wrote %s; generate --sampler learned --steps %d --solver %s uses it",
		filepath.Join(c.Out, calibrate.SolversFile), len(l.Timesteps), c.Out)
	return nil
}
