package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/summary"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/report"
)

// search makes the best policy that meets the target, with its evidence: what was tried, and a report
// of what was measured on unseen images.
func (c *calibrateCmd) search(a *app) error {
	s, err := c.searchOptions(a)
	if err != nil {
		return err
	}
	defer s.done()
	o, target := s.options, s.target
	if err := c.refused(a, s); err != nil { // before a finished policy is removed
		return err
	}
	if err := c.begin(); err != nil {
		return err
	}
	remote, err := a.far.Of(o.Pipeline)
	if err != nil {
		return err
	}
	o.Remote = comparison.Remote(remote)
	a.printRemarks()
	bar := a.newProgress("searching")
	defer bar.Finish()
	o.OnProgress = bar.Set
	w, err := comparison.Search(a.ctx, *o, target, c.Measure)
	if err != nil {
		return err
	}
	bar.Finish()
	return c.found(a, w, o)
}

// refused reports what can be refused before the search works. The real images are only looked at:
// the search reads them when it needs them.
func (c *calibrateCmd) refused(a *app, s *searched) error {
	o := s.options
	if s.images != "" {
		if _, err := os.Stat(s.images); err != nil {
			return fmt.Errorf("--reference: %w", err)
		}
	}
	path, err := a.evaluator(o, s.images)
	if err != nil {
		return err
	}
	if path != "" {
		if err := o.Reference.Check(a.ctx, path); err != nil {
			return fmt.Errorf("--reference: %w", err)
		}
		o.RealImages = func(ctx context.Context) error {
			return o.Reference.Open(ctx, path, o.Count, o.Calibration.Threads, o.Seed)
		}
	}
	err = comparison.CheckSearch(*o, s.target, c.Measure)
	if errors.Is(err, comparison.ErrNoReference) {
		return fmt.Errorf("--target %s: %w: give them with --reference, if the bundled classifier "+
			"knows such images, or a target of psnr or speed", s.target.Text, comparison.ErrNoReference)
	}
	return err
}

// searched is what a search is to find, and the model, which done closes.
type searched struct {
	options *comparison.Options
	target  comparison.Target
	images  string // path of real images
	done    func()
}

// searchOptions opens the model of a search.
func (c *calibrateCmd) searchOptions(a *app) (*searched, error) {
	methods, target, images, err := c.Search()
	if err != nil {
		return nil, err
	}
	o, done, err := a.comparison(&c.Model, c.options(), &c.samplingFlags, &c.subjectFlags)
	if err != nil {
		return nil, err
	}
	comparison.SearchDefaults(o, c.Seed)
	o.Dir, o.Policies, o.Count = filepath.Join(c.Out, evidenceFolder), methods, target.Images(c.Evidence)
	return &searched{o, target, images, done}, nil
}

// found writes what a search found, and says it.
func (c *calibrateCmd) found(a *app, w *comparison.Winner, o *comparison.Options) error {
	target := strings.Join(c.Bounds, ",")
	if len(w.Cells) > 0 {
		if err := w.Write(o.Dir, w.Sheet()); err != nil {
			return err
		}
	}
	if w.Policy == nil {
		return fmt.Errorf("nothing met %s. %s\nAsk for less, or try other --methods; what was tried is in %s",
			target, w.Misses(), o.Dir)
	}
	if err := w.Save(c.Out); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(w.Policy)
	}
	a.note("%s meets %s on %d unseen images: %s", w.Cell.Method, target, c.Measure, w.Cell.Summary())
	if e, ok := w.Policy.Provenance["measured"].(*calibrate.Evidence); ok {
		a.note("%s", strings.Join(summary.Measured(e), "\n"))
	}
	if strings.Contains(target, "psnr") {
		a.note("psnr bounds the mean of the images; --contract calibrates what each image keeps")
	}
	a.note("wrote %s, with the evidence in %s; these do the same:", c.Out, filepath.Join(o.Dir, report.PageFile))
	a.note("  %s\n  %s", report.NewCommand("tokencache", "generate").Optional("--model", c.Model).
		Optional("--vae", c.VAE).Optional("--solver", c.Solver).Flag("--policy", c.Out),
		w.Command(c.Out).Optional("--solver", c.Solver))
	return nil
}
