package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/summary"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/reuse"
)

// A test of contracts is a folder with this file and the images in this folder.
const (
	coverageFile = "coverage.json"
	keptFolder   = "images"
)

// coverage reports how many unseen images keep what contracts promise.
func (c *compareCmd) coverage(a *app) error {
	levels, err := parseLevels(c.MinPSNR)
	if err != nil {
		return err
	}
	var references []reuse.Reference
	for _, name := range strings.FieldsFunc(c.Reference, func(r rune) bool { return r == ',' || r == ' ' }) {
		to := reuse.Reference(name)
		if to != reuse.ToUncached && to != reuse.ToConverged {
			return fmt.Errorf("--reference %s: of --min-psnr want %s, %s or both", name, reuse.ToUncached, reuse.ToConverged)
		}
		references = append(references, to)
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
	options := tokencache.Options{VAE: c.VAE, Key: c.Key, Threads: c.Threads}
	p, sampling, err := a.open(&c.Model, options, &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	bar := a.newProgress("sampling")
	defer bar.Finish()
	r, err := calibrate.Cover(a.ctx, p, calibrate.CoverageOptions{
		Sampling:   sampling,
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
	err = atomicfile.Write(filepath.Join(c.Out, coverageFile), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	fmt.Fprintln(a.stdout, strings.Join(summary.Coverage(r), "\n"))
	a.note("wrote %s", filepath.Join(c.Out, coverageFile))
	return nil
}

// promising returns the bundled policy that generate takes for a promise: the one that keeps it
// with the fewest operations, or else the one that it takes without any.
func (a *app) promising(p *tokencache.Pipeline, s tokencache.Sampling, promise reuse.Promise) (reuse.Policy, error) {
	t, err := a.opened.bundle.ForPSNR(p.Setting(s), promise)
	if err == nil && t == nil {
		t, err = a.opened.bundle.Choose(s, 0)
	}
	return t, err
}

// parseLevels reads a list of PSNRs in dB.
func parseLevels(list string) ([]float64, error) {
	var levels []float64
	for _, text := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		level, err := strconv.ParseFloat(text, 64)
		if err != nil || !(level > 0 && level <= 100) {
			return nil, fmt.Errorf("--min-psnr %s: want decibels, as in 40,45,50", text)
		}
		levels = append(levels, level)
	}
	if len(levels) == 0 {
		return nil, fmt.Errorf("--min-psnr %q: want decibels, as in 40,45,50", list)
	}
	return levels, nil
}
