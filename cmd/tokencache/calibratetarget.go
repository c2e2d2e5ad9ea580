package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// calibrateTarget are the flags of calibrate that look among methods for what meets a target.
type calibrateTarget struct {
	Target    string `help:"Try methods and their parameters, and make the best policy that meets this: psnr>=30 or fd<=+4% (the fastest with a PSNR to the uncached images of so many dB, or with a Frechet distance at most so much above theirs), or speed=2x (the nearest images at that speed)." placeholder:"TARGET"`
	Methods   string `help:"Of --target: methods to try, by the names that compare has for them. Default: all but fewer steps, the controls and l2c." default:"tokencache,extrapolation,fora,taylorseer,taylorseer2,toca,duca,fbcache,dbcache,teacache,smoothcache,deltadit,tome" placeholder:"NAME,..."`
	Evidence  int    `help:"Of --target: images of each policy that is tried." default:"32"`
	Reference string `help:"Of --target: real pictures, as for compare." placeholder:"PATH"`
}

// Placements of I-steps that a search tries for each speed of a TokenCache, and images of each: fewer than calibrate does for one policy.
const (
	searchTrials = 16
	searchFew    = 8
)

// seek makes the best policy that meets the target, with its evidence: a report of all that was tried.
func (c *calibrateCmd) seek(a *app) error {
	target, err := comparison.ParseTarget(c.Target)
	if err != nil {
		return fmt.Errorf("--%w", err)
	}
	if c.Speed != "" || c.Ratio != nil || c.Threshold != nil || c.Method != reuse.TokenCacheMethod {
		return errors.New("--target looks for method, speed and parameters itself: leave out --speed, --ratio, --threshold and --method")
	}
	methods := splitPolicies(c.Methods)
	if err := comparison.CheckMethods(methods); err != nil {
		return fmt.Errorf("--methods: %w", err)
	}
	if c.Evidence < 2 {
		return errors.New("--evidence: want 2 images or more")
	}
	p, sampling, err := a.open(&c.Model, tokencache.Options{VAE: c.VAE, Threads: c.Threads, Key: c.Key, Heads: c.HeadsOpt}, &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	work := filepath.Join(c.Out, "evidence")
	o := comparison.Options{
		Dir: work, Pipeline: p, Sampling: sampling, Seed: c.Seed + evidenceSeed, Batch: evidenceBatch,
		Policies: methods, Count: c.Evidence, Timed: evidenceBatch, Repeat: 3,
		Open:    a.policy,
		OnStage: func(what string) { a.note("%s", what) },
	}
	o.Fit = (&fitter{a: a, p: p, model: c.Model, key: c.Key, dir: filepath.Join(work, "policies"), measure: evidenceBatch, threads: c.Threads, trials: searchTrials, few: searchFew, o: o}).fit
	result := beginComparison(c.Model, o)
	if err := (judges{reference: c.Reference, threads: c.Threads}).look(a, p, &o, &result); err != nil {
		return err
	}
	if target.NeedsFrechet() && o.Reference == nil {
		return fmt.Errorf("--target %s: there is nothing to take Frechet distances to: give real pictures with --reference, if the model draws such as the embedded classifier knows, or a target of psnr or speed", c.Target)
	}
	bar := a.newProgress("trying methods")
	defer bar.finish()
	o.OnProgress = bar.set
	start := time.Now()
	r, best, err := comparison.Search(a.ctx, o, target)
	if err != nil {
		return err
	}
	bar.finish()
	result.Cells, result.Calibrations = r.Cells, r.Costs
	if err := result.Write(work, sheetOf(r)); err != nil {
		return err
	}
	for _, cell := range r.Cells {
		a.note("%s", describeCell(cell))
	}
	if best < 0 {
		return fmt.Errorf("no policy met %s; what was tried is in %s: ask for less, or try other --methods", c.Target, filepath.Join(work, report.PageFile))
	}
	t, err := c.found(p, o, &r.Cells[best])
	if err != nil {
		return err
	}
	evidence := r.Cells[best]
	evidence.StepMillis, evidence.StepFLOPs = nil, nil // they are in the report
	t.Provenance = map[string]any{"command": result.Command, "target": c.Target, "tried": len(r.Cells) - 1, "images": c.Evidence, "seed": o.Seed, "seconds": math.Round(time.Since(start).Seconds()), "evidence": &evidence}
	if err := c.save(t, r.Cells[best].Policy); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(t)
	}
	a.note("%s meets %s: %s", r.Cells[best].Method, c.Target, describeCell(r.Cells[best]))
	a.note("wrote %s, with what was tried in %s; generate --policy %s draws with it", c.Out, filepath.Join(work, report.PageFile), c.Out)
	return nil
}

const (
	evidenceSeed  = 1000 // beside --seed, so that policies are not judged by the images that they were fitted to
	evidenceBatch = 4
)

// found is the policy of a cell as one of its own.
func (c *calibrateCmd) found(p *tokencache.Pipeline, o comparison.Options, cell *report.Cell) (*reuse.Trained, error) {
	policy, err := o.Open(cell.Policy)
	if err != nil {
		return nil, err
	}
	t, ok := policy.(*reuse.Trained)
	if !ok {
		t = &reuse.Trained{Spec: reuse.Spec(cell.Policy)}
	}
	t.Model, t.Fingerprint, t.Sampling = p.Config().Name(), p.Fingerprint(), o.Sampling
	t.Speed = reuse.Speed{Wanted: t.Speed.Wanted, FLOPs: cell.FLOPReduction(), Wall: cell.Speedup, Level: p.Level()}
	if t.PSNR = 0; cell.PSNR != nil {
		t.PSNR = math.Round(100*cell.PSNR.Value) / 100
	}
	return t, nil
}

// save writes the policy to --out, with what was learned for it in its own folder.
func (c *calibrateCmd) save(t *reuse.Trained, folder string) error {
	learned := filepath.Join(folder, reuse.PredictorFile)
	if _, err := os.Stat(learned); t.Spec != "" || errors.Is(err, os.ErrNotExist) {
		return t.Save(c.Out, nil)
	}
	b, err := os.ReadFile(learned)
	if err != nil {
		return err
	}
	return t.Save(c.Out, func(path string) error {
		return atomicfile.Write(path, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	})
}
