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
	methods, target, images, err := c.Search(&c.Flags)
	if err != nil {
		return err
	}
	if images != "" { // before a finished policy is removed
		if _, err := os.Stat(images); err != nil {
			return fmt.Errorf("--reference: %w", err)
		}
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
	o.Dir, o.Policies, o.Count = filepath.Join(c.Out, evidenceFolder), methods, target.Images(c.Evidence)
	if err := a.reference(o, images); err != nil {
		return err
	}
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
