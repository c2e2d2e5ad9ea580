package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/jobsrun"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/reuse"
)

// parseCommand parses a command that stands after --.
func parseCommand(args []string) (*cli, *kong.Context, error) {
	c := &cli{}
	k, err := newParser(c).Parse(args)
	if err == nil {
		err = checkBounds(k)
	}
	if err == nil {
		err = c.checkMode(k)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s's flags: %w", args[0], err)
	}
	return c, k, nil
}

// checkTasks reports a command that workers can do nothing for.
func (c *cli) checkTasks(verb string) error {
	k := &c.Calibrate
	switch {
	case verb == "compare" && c.Compare.MinPSNR != "":
		return errors.New("compare --min-psnr has no tasks for workers")
	case verb == "calibrate" && k.Contract != "":
		return errors.New("calibrate --contract has no tasks for workers")
	case verb == "calibrate" && len(k.Bounds) == 0 &&
		(k.Method != reuse.TokenCacheMethod || k.Speed == "" || k.Trials == 0):
		return errors.New("calibrate has tasks for workers with --target, and where it tries placements: " +
			"--method tokencache with --speed and --trials")
	}
	return nil
}

// sentFlags are the flags whose files and folders --send sends.
var sentFlags = []string{
	"model", "vae", "policy", "prompt-file", "encoded", "text-encoder", "solver", "noise", "features",
	"samples", "reference",
}

// inputs are the files and folders that a command's flags name and that are sent, and folders of
// images, which are not: workers must see those under the same path.
func inputs(k *kong.Context) (sent, kept []string) {
	for _, p := range k.Path {
		if p.Flag == nil || p.Flag.Enum != "" || !slices.Contains(sentFlags, p.Flag.Name) {
			continue
		}
		path := p.Flag.Target.String()
		info, err := os.Stat(path)
		switch images := p.Flag.Name == "samples" || p.Flag.Name == "reference"; {
		case err != nil: // it is the name of something else
		case images && info.IsDir():
			kept = append(kept, path)
		default:
			sent = append(sent, path)
		}
	}
	return sent, kept
}

// here returns where a file or a folder is that a user names.
func (a *app) here(path string) string {
	if local, ok := a.local[path]; ok {
		return local
	}
	return path
}

// openTasks returns what opens the commands whose tasks a worker does; with a number of threads,
// unless it is 0.
func (a *app) openTasks(threads int) jobsrun.OpenTasks {
	return func(args []string, local map[string]string) (*jobsrun.Opened, error) {
		a.local = local
		c, _, err := parseCommand(args)
		if err != nil {
			return nil, err
		}
		for _, flag := range []*int{&c.Compare.Threads, &c.Calibrate.Threads, &c.Evaluate.Threads} {
			if threads > 0 {
				*flag = threads
			}
		}
		switch args[0] {
		case "compare":
			return c.Compare.worker(a)
		case "calibrate":
			return c.Calibrate.worker(a)
		default:
			return c.Evaluate.worker(a)
		}
	}
}

// worker opens a comparison on a worker.
func (c *compareCmd) worker(a *app) (*jobsrun.Opened, error) {
	c.Reference = a.here(c.Reference)
	o, done, err := c.options(a)
	if err != nil {
		return nil, err
	}
	return comparisonWorker(o, 0, done)
}

// comparisonWorker opens a comparison, or with a number of measured images a search, on a worker.
func comparisonWorker(o *comparison.Options, measured int, done func()) (*jobsrun.Opened, error) {
	dir, err := os.MkdirTemp("", "tokencache-compare-")
	if err != nil {
		done()
		return nil, err
	}
	closeAll := func() { done(); os.RemoveAll(dir) }
	o.Dir = dir
	w, err := comparison.NewWorker(*o, measured)
	if err != nil {
		closeAll()
		return nil, err
	}
	return &jobsrun.Opened{Model: o.Pipeline.Fingerprint(), Check: w.Check, Do: w.Do, Close: closeAll}, nil
}

// worker opens a calibration on a worker.
func (c *calibrateCmd) worker(a *app) (*jobsrun.Opened, error) {
	if len(c.Bounds) > 0 {
		s, err := c.searchOptions(a)
		if err != nil {
			return nil, err
		}
		return comparisonWorker(s.options, c.Measure, s.done)
	}
	method, err := c.NewMethod()
	if err != nil {
		return nil, err
	}
	speed, err := parseSpeed(c.Speed)
	if err != nil {
		return nil, err
	}
	p, subjects, sampling, err := a.openSubjects(&c.Model, c.options(), &c.samplingFlags, &c.subjectFlags)
	if err != nil {
		return nil, err
	}
	t, err := calibrate.NewTrials(p, method, c.calibration(a, p, subjects, sampling, speed))
	if err != nil {
		p.Close()
		return nil, err
	}
	return &jobsrun.Opened{Model: p.Fingerprint(), Check: t.Check, Do: t.Do, Close: p.Close}, nil
}

// calibration returns the options of the flags.
func (c *calibrateCmd) calibration(a *app, p *tokencache.Pipeline, subjects *tokencache.Subjects,
	sampling tokencache.Sampling, speed float64) calibrate.Options {
	return calibrate.Options{
		Dir:      c.Out,
		Sampling: sampling,
		Subjects: subjects,
		Speed:    speed,
		Seed:     c.Seed,
		Images:   c.Images,
		Measure:  c.Measure,
		Threads:  c.Threads,
		Command:  commandLine(),
		Open:     a.weights(p, c.Model, c.options()),
	}
}

// worker opens an evaluation on a worker.
func (c *evaluateCmd) worker(a *app) (*jobsrun.Opened, error) {
	c.Samples, c.Reference, c.Features = a.here(c.Samples), a.here(c.Reference), a.here(c.Features)
	s, err := c.open(a)
	if err != nil {
		return nil, err
	}
	f := s.features(c)
	return &jobsrun.Opened{Check: f.Check, Do: f.Do, Close: s.close}, nil
}
