package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/contracts"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/summary"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

// A test of contracts is a folder with this file and the images in this folder.
const (
	coverageFile = "coverage.json"
	keptFolder   = "images"
)

// coverage reports how many unseen images keep what contracts promise.
func (c *compareCmd) coverage(a *app) error {
	levels, err := contracts.Levels(c.MinPSNR)
	if err != nil {
		return err
	}
	references, err := contracts.References(c.Reference, "--min-psnr")
	if err != nil {
		return err
	}
	policies := comparison.SplitPolicies(c.Policies)
	if len(policies) > 1 {
		return fmt.Errorf("--policies: %d policies: of --min-psnr want one, or none for those that generate takes", len(policies))
	}
	claim, err := output.ClaimFolder(c.Out, compareFiles, []string{"cells", keptFolder})
	if err != nil {
		return err
	}
	defer claim.Release()
	options := tokencache.Options{
		VAE:        c.VAE,
		Key:        c.Key,
		Threads:    c.Threads,
		DType:      c.DType.dtype(),
		CacheDType: c.CacheDType.dtype(),
	}
	p, subjects, sampling, err := a.openSubjects(&c.Model, options, &c.samplingFlags, &c.subjectFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	bar := a.newProgress("sampling")
	defer bar.Finish()
	r, err := calibrate.Cover(a.ctx, p, calibrate.CoverageOptions{
		Sampling:   sampling,
		Subjects:   subjects,
		Levels:     levels,
		References: references,
		Policy: func(promise reuse.Promise) (reuse.Policy, error) {
			if len(policies) > 0 {
				return a.policy(policies[0])
			}
			return a.promising(p, sampling, promise)
		},
		Images:     c.Count,
		Seed:       c.Seed,
		Confidence: 0.95,
		Keep:       filepath.Join(c.Out, keptFolder),
		Command:    commandLine(),
		OnStage:    func(what string) { a.note("%s", what) },
		OnProgress: bar.Set,
	})
	if err != nil {
		if a.ctx.Err() != nil {
			a.note("stopped; the same command resumes from there")
		}
		return err
	}
	bar.Finish()
	if err := r.Write(filepath.Join(c.Out, coverageFile)); err != nil {
		return err
	}
	if c.JSON {
		err = a.printJSON(r)
	} else {
		fmt.Fprintln(a.stdout, strings.Join(summary.Coverage(r), "\n"))
		a.note("wrote %s", filepath.Join(c.Out, coverageFile))
	}
	if err == nil && !slices.ContainsFunc(r.Levels, func(l calibrate.CoverageLevel) bool { return l.Refused == "" }) {
		return errors.New("--min-psnr: nothing was tested: each of these promises is refused")
	}
	return err
}

// promising returns the bundled policy that generate takes for a promise: the one that keeps it
// with the fewest operations.
func (a *app) promising(p *tokencache.Pipeline, s tokencache.Sampling, promise reuse.Promise) (reuse.Policy, error) {
	t, err := a.opened.bundle.ForPSNR(p.Setting(s), promise)
	switch none := (*bundle.NoPromiseError)(nil); {
	case err == nil:
		return t, nil // and no policy, where t would be one that is nil
	case errors.As(err, &none):
		return nil, fmt.Errorf("--min-psnr: %w: everything is computed, which keeps any; --policies names another", err)
	}
	return nil, err
}
