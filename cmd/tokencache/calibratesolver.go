package main

import (
	"fmt"
	"path/filepath"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/diffusion"
)

// solver fits a learned solver and adds it to the file of those in the folder.
func (c *calibrateCmd) solver(a *app) error {
	if _, spacing, _ := diffusion.ParseSteps(c.Steps); spacing != "" {
		return fmt.Errorf("--steps %s: --method %s spaces its steps itself: give a number alone",
			c.Steps, calibrate.LearnedSolverMethod)
	}
	p, subjects, sampling, err := a.openSubjects(&c.Model, c.options(), &c.samplingFlags, &c.subjectFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	s := calibrate.NewSolver()
	s.Trials, s.Few = c.Trials, c.Few
	l, err := s.Run(a.ctx, p, calibrate.Options{
		Dir:      c.Out,
		Sampling: sampling,
		Subjects: subjects,
		Seed:     c.Seed,
		Images:   c.Images,
		Measure:  c.Measure,
		Command:  commandLine(),
		Open:     a.weights(p, c.Model, c.options()),
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
