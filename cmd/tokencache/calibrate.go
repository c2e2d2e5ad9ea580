package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/summary"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/terminal"
	"github.com/tokencache/tokencache/reuse"
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
  tokencache calibrate --target "psnr>=44" --reference converged --out policies/solver
  tokencache calibrate --choose-dtype policies/fast --out policies/fast
  tokencache calibrate --method learned-solver --steps 12 --out solvers
  tokencache generate --sampler learned --steps 12 --solver solvers

For a bundled model and on two cores a policy takes about five minutes, a --target an hour or more; DiT-XL/2 takes hundreds of times as long. An interrupted calibration resumes when it is started again.`
}

func (c *calibrateCmd) Run(a *app) error {
	claim, err := output.ClaimFolder(c.Out, calibrate.Files(), []string{calibrate.WorkFolder, evidenceFolder, formatsFolder})
	if err != nil {
		return err
	}
	return errors.Join(c.run(a), claim.Release())
}

// evidenceFolder is the folder in a policy's folder with the comparison that a search made.
const evidenceFolder = "evidence"

// begin refuses a folder with a finished policy, or with --overwrite removes that. It is called
// when the flags are known to be right.
func (c *calibrateCmd) begin() error {
	searched := filepath.Join(c.Out, evidenceFolder)
	done := calibrate.Finished(c.Out)
	if _, err := os.Lstat(searched); err == nil {
		_, err := os.Lstat(filepath.Join(c.Out, reuse.PolicyFile))
		done = done || err == nil
	}
	switch {
	case !done:
		return nil
	case !c.Overwrite:
		return fmt.Errorf("%s holds a finished policy: give another --out, or --overwrite to make it again", c.Out)
	}
	if len(c.Bounds) == 0 {
		if err := os.RemoveAll(searched); err != nil {
			return err
		}
	}
	return calibrate.Remove(c.Out)
}

func (c *calibrateCmd) run(a *app) error {
	switch {
	case c.Contract != "":
		return c.makeContract(a)
	case c.Choose != "":
		return c.chooseFormat(a)
	case len(c.Bounds) > 0:
		return c.search(a)
	case c.Method == calibrate.LearnedSolverMethod:
		return c.solver(a)
	}
	method, err := c.NewMethod()
	if err != nil {
		return err
	}
	speed, err := parseSpeed(c.Speed)
	if err != nil {
		return err
	}
	p, subjects, sampling, err := a.openSubjects(&c.Model, c.options(), &c.samplingFlags, &c.subjectFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := c.begin(); err != nil {
		return err
	}
	bar := a.newProgress("calibrating")
	defer bar.Finish()
	what := ""
	o := c.calibration(a, p, subjects, sampling, speed)
	remote, err := a.far.Of(p)
	if err != nil {
		return err
	}
	o.Remote = calibrate.Remote(remote)
	o.OnStage = func(stage string) {
		what = stage
		a.note("%s", stage)
	}
	o.OnUpdate = func(s train.StepStats) { a.update(bar, s) }
	if o.Frechet, err = a.distances(p, o.Measure, o.Seed); err != nil {
		return err
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
	bar.Finish()
	bar = a.newProgress("drawing figures")
	defer bar.Finish()
	if err := calibrate.Figures(a.ctx, p, t, o, bar.Set); err != nil {
		return err
	}
	bar.Finish()
	if c.JSON {
		return a.printJSON(t)
	}
	a.note("%s", t)
	a.note("%.2f times as fast in wall-clock time, %.2f times fewer FLOPs; wrote %s",
		t.Speed.Wall, t.Speed.FLOPs, c.Out)
	if e, ok := t.Provenance["measured"].(*calibrate.Evidence); ok {
		a.note("%s", strings.Join(summary.Measured(e), "\n"))
	}
	return nil
}

func (c *calibrateCmd) options() tokencache.Options {
	return tokencache.Options{
		VAE:     c.VAE,
		Threads: c.Threads,
		Key:     c.Key,
		Heads:   c.HeadsOpt,
		DType:   c.DType.dtype(),
	}
}

// update shows an update of training.
func (a *app) update(bar *terminal.Progress, s train.StepStats) {
	bar.Set(float64(s.Step), float64(s.Steps))
	if s.Step%50 == 0 || s.Step == s.Steps {
		a.note("%s", calibrate.DescribeUpdate(s))
	}
}
