package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
	if s.images != "" { // before a finished policy is removed
		if _, err := os.Stat(s.images); err != nil {
			return fmt.Errorf("--reference: %w", err)
		}
	}
	if err := c.begin(); err != nil {
		return err
	}
	o, target := s.options, s.target
	if err := a.reference(o, s.images); err != nil {
		return err
	}
	remote, err := a.far.Of(o.Pipeline)
	if err != nil {
		return err
	}
	o.Remote = comparison.Remote(remote)
	bar := a.newProgress("searching")
	defer bar.Finish()
	o.OnProgress = bar.Set
	w, err := comparison.Search(a.ctx, *o, target, c.Measure)
	if errors.Is(err, comparison.ErrNoReference) {
		return fmt.Errorf("--target %s: %w: give them with --reference, if the bundled classifier "+
			"knows such images, or a target of psnr or speed", target.Text, comparison.ErrNoReference)
	}
	if err != nil {
		return err
	}
	bar.Finish()
	return c.found(a, w, o)
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
	o, done, err := a.comparison(&c.Model, c.options(), &c.samplingFlags)
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
	a.note("wrote %s, with the evidence in %s; these do the same:", c.Out, filepath.Join(o.Dir, report.PageFile))
	a.note("  %s\n  %s", report.NewCommand("tokencache", "generate").Optional("--model", c.Model).
		Optional("--vae", c.VAE).Optional("--solver", c.Solver).Flag("--policy", c.Out),
		w.Command(c.Out).Optional("--solver", c.Solver))
	return nil
}
