package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

// opened is the model that a verb works with.
type opened struct {
	model    string
	bundle   *bundle.Bundle // nil if the model is not bundled
	options  tokencache.Options
	solver   string                 // of the learned solvers in options
	prompts  string                 // file of those that images show in turn
	suits    tokencache.Sampling    // what it is sampled with where no flag says otherwise
	sampling tokencache.Sampling    // in use
	policy   reuse.Policy           // likewise, of generate
	none     *bundle.NoPromiseError // why --min-psnr computes everything; nil if it does not, or as asked
	remarks  []string               // to be printed when nothing is left to refuse
}

// remark keeps a line for printRemarks: advice that would stand in the way of an error.
func (o *opened) remark(format string, args ...any) {
	o.remarks = append(o.remarks, fmt.Sprintf(format, args...))
}

// printRemarks prints what was remarked, as the work begins.
func (a *app) printRemarks() {
	for _, remark := range a.opened.remarks {
		a.note("%s", remark)
	}
	a.opened.remarks = nil
}

// open opens a model by its path or by the name of a bundled one, which an empty name becomes, and
// returns it with how it is sampled: as the flags say, and else as suits it.
func (a *app) open(name *string, o tokencache.Options, f *samplingFlags) (
	*tokencache.Pipeline, tokencache.Sampling, error,
) {
	if *name == "" {
		*name = models.Default
	}
	var err error
	if o.Solvers, err = readSolvers(a.here(f.Solver)); err != nil {
		return nil, tokencache.Sampling{}, err
	}
	resolved := o
	resolved.VAE, resolved.TextEncoder, resolved.Encoded = a.here(o.VAE), a.here(o.TextEncoder), a.here(o.Encoded)
	p, suits, b, err := models.Resolve(a.ctx, a.here(*name), resolved)
	if err != nil {
		return nil, tokencache.Sampling{}, err
	}
	if n := runtime.GOMAXPROCS(0); o.Threads > n {
		a.note("%d threads on %d processors are slower than %d", o.Threads, n, n)
	}
	if p.Assumed() != "" {
		a.note("%s", p.Assumed())
	}
	sampling, err := f.sampling(suits)
	if err == nil {
		_, err = p.Plan(sampling)
	}
	if err != nil {
		p.Close()
		return nil, tokencache.Sampling{}, err
	}
	a.opened = opened{model: *name, bundle: b, options: o, solver: f.Solver, suits: suits, sampling: sampling}
	return p, sampling, nil
}

// policy returns the policy that a user names for the model in use.
func (a *app) policy(text string) (reuse.Policy, error) {
	p, err := models.ResolvePolicy(a.opened.bundle, a.here(text))
	unknown := (*models.UnknownError)(nil)
	if !errors.As(err, &unknown) || !slices.Contains(comparison.Methods(), unknown.Name) {
		return p, err
	}
	// A method that compare knows by this name is calibrated for a model.
	command := a.calibrateCommand(0)
	if _, err := calibrate.NewMethod(unknown.Name); err == nil {
		command += " --method " + unknown.Name
	}
	return nil, fmt.Errorf("policy %s: policies of this method are made for a model: "+
		"make one with %s, and give its folder", text, command)
}
