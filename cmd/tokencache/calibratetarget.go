package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// calibrateTarget are the flags of calibrate that search among methods for what meets a target.
type calibrateTarget struct {
	Target    string `help:"Try methods and their parameters, and make the best policy that meets this: psnr>=30 or fd<=+4% (the fastest with a PSNR to the uncached images of 30 dB, or with a Fréchet distance at most 4 % above theirs), or speed=2x (the nearest images at that speed)." placeholder:"TARGET"`
	Methods   string `help:"Of --target: methods to try, by the names that compare has for them. Default: all except fewer steps, the controls and l2c." default:"${searchMethods}" placeholder:"NAME,..."`
	Evidence  int    `help:"Of --target: images of each policy that is tried." default:"32"`
	Reference string `help:"Of --target: real images, as for compare." placeholder:"PATH"`
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
	comparison.SearchDefaults(o, c.Seed)
	o.Dir, o.Policies, o.Count = filepath.Join(c.Out, "evidence"), methods, c.Evidence
	if err := a.reference(o, c.Reference); err != nil {
		return err
	}
	bar := a.newProgress("trying methods")
	defer bar.finish()
	o.OnProgress = bar.set
	w, err := comparison.Search(a.ctx, *o, target)
	if errors.Is(err, comparison.ErrNoReference) {
		return fmt.Errorf("--target %s: %w: give them with --reference, if the bundled classifier "+
			"knows such images, or a target of psnr or speed", c.Target, comparison.ErrNoReference)
	}
	if err != nil {
		return err
	}
	bar.finish()
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
