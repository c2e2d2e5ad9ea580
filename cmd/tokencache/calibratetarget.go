package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// target returns what is searched for, and the path of real images, which may be "".
func (c *calibrateCmd) target() (t comparison.Target, images string, err error) {
	if c.Speed != "" || c.Ratio != nil || c.Threshold != nil || c.Method != reuse.TokenCacheMethod {
		return t, "", errors.New("--target searches sampler, method, speed and parameters itself: " +
			"leave out --speed, --ratio, --threshold and --method")
	}
	if c.Evidence == 1 || c.Evidence < 0 {
		return t, "", errors.New("--evidence: want 2 images or more")
	}
	if t, err = comparison.ParseTarget(strings.Join(c.Target, ",")); err != nil {
		return t, "", fmt.Errorf("--%w", err)
	}
	for _, text := range c.Reference {
		to, other := &images, string(t.Against)
		switch against := comparison.Against(text); against {
		case comparison.AgainstUncached, comparison.AgainstConverged:
			t.Against = against
		default:
			other, *to = *to, text
		}
		if other != "" {
			return t, "", fmt.Errorf("--reference %s and %s: want one of uncached and converged, and one path", other, text)
		}
	}
	return t, images, nil
}

// search makes the best policy that meets the target, with its evidence: what was tried, and a report
// of what was measured on unseen images.
func (c *calibrateCmd) search(a *app) error {
	target, images, err := c.target()
	if err != nil {
		return err
	}
	methods := comparison.SplitPolicies(c.Methods)
	if err := comparison.CheckMethods(methods); err != nil {
		return fmt.Errorf("--methods: %w", err)
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
	target := strings.Join(c.Target, ",")
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
