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
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/report"
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
  tokencache calibrate --method learned-solver --steps 12 --out solvers
  tokencache generate --sampler learned --steps 12 --solver solvers

An interrupted calibration resumes when it is started again.`
}

func (c *calibrateCmd) Run(a *app) error {
	claim, err := output.ClaimFolder(c.Out, calibrate.Files(), []string{calibrate.WorkFolder, evidenceFolder})
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
	if c.Target == "" {
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
	case c.Target != "":
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
	p, sampling, err := a.open(&c.Model, c.options(), &c.samplingFlags)
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

// search makes the best policy that meets the target, with its evidence: a report of all that was
// tried.
func (c *calibrateCmd) search(a *app) error {
	target, err := comparison.ParseTarget(c.Target)
	if err != nil {
		return fmt.Errorf("--%w", err)
	}
	if c.Speed != "" || c.Ratio != nil || c.Threshold != nil || c.Method != reuse.TokenCacheMethod {
		return errors.New("--target searches method, speed and parameters itself: " +
			"leave out --speed, --ratio, --threshold and --method")
	}
	methods := comparison.SplitPolicies(c.Methods)
	if err := comparison.CheckMethods(methods); err != nil {
		return fmt.Errorf("--methods: %w", err)
	}
	if c.Evidence < 2 {
		return errors.New("--evidence: want 2 images or more")
	}
	o, done, err := a.comparison(&c.Model, c.options(), &c.samplingFlags)
	if err != nil {
		return err
	}
	defer done()
	if err := c.begin(); err != nil {
		return err
	}
	comparison.SearchDefaults(o, c.Seed)
	o.Dir, o.Policies, o.Count = filepath.Join(c.Out, evidenceFolder), methods, c.Evidence
	if err := a.reference(o, c.Reference); err != nil {
		return err
	}
	bar := a.newProgress("trying methods")
	defer bar.Finish()
	o.OnProgress = bar.Set
	w, err := comparison.Search(a.ctx, *o, target)
	if errors.Is(err, comparison.ErrNoReference) {
		return fmt.Errorf("--target %s: %w: give them with --reference, if the bundled classifier "+
			"knows such images, or a target of psnr or speed", c.Target, comparison.ErrNoReference)
	}
	if err != nil {
		return err
	}
	bar.Finish()
	if err := w.Write(o.Dir, w.Sheet()); err != nil {
		return err
	}
	for i := range w.Cells {
		a.note("%s", w.Cells[i].Summary())
	}
	page := filepath.Join(o.Dir, report.PageFile)
	if w.Policy == nil {
		return fmt.Errorf("no policy met %s; what was tried is in %s: ask for less, or try other --methods",
			c.Target, page)
	}
	if err := w.Save(c.Out); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(w.Policy)
	}
	a.note("%s meets %s: %s", w.Cell.Method, c.Target, w.Cell.Summary())
	a.note("wrote %s, with what was tried in %s; generate --policy %s uses it", c.Out, page, c.Out)
	return nil
}
