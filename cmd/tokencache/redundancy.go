package main

import (
	"errors"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/redundancy"
	"github.com/tokencache/tokencache/reuse"
)

// redundancyFlags are inspect's for watching a model while it generates.
type redundancyFlags struct {
	Redundancy bool   `help:"Generate images, and write figures of how alike the model's steps are, of what a policy computes and of whether computing tokens pays: see docs/tokencache.md." group:"With --redundancy:"`
	Out        string `short:"o" help:"Folder of the figures." placeholder:"DIR" group:"With --redundancy:"`
	VAE        string `name:"vae" help:"The model's autoencoder, as for generate." placeholder:"PATH" group:"With --redundancy:"`
	samplingFlags
	subjectFlags
	Class   []string   `short:"c" help:"Classes, as for generate. Default: the first." placeholder:"N|NAME" sep:"none" group:"With --redundancy:"`
	Count   int        `short:"n" help:"Images." default:"4" group:"With --redundancy:"`
	Seed    uint64     `short:"s" help:"Seed of the random numbers." default:"1" group:"With --redundancy:"`
	Policy  policyText `help:"Policy whose choice of tokens is shown, as for generate. Default: the one that generate uses, or where that is none, tokencache." placeholder:"NAME|DIR" group:"With --redundancy:"`
	Threads int        `help:"Worker threads. Default: all processors." placeholder:"N" group:"With --redundancy:"`
}

// redundancy generates images with the model and writes figures of what was seen.
func (c *inspectCmd) redundancy(a *app) error {
	if c.Out == "" {
		return errors.New("--redundancy writes figures: give a folder for them (--out DIR)")
	}
	if c.Count < 1 {
		return errors.New("--count: want 1 or more")
	}
	p, sampling, err := a.open(&c.Path, c.subjectFlags.options(tokencache.Options{
		VAE:         c.VAE,
		Key:         c.Key,
		Threads:     c.Threads,
		Heads:       c.Heads,
		InputSize:   c.InputSize,
		DecodeLayer: c.Decode,
	}), &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	policy, err := c.shown(a, sampling)
	if err != nil {
		return err
	}
	req, err := c.subjectFlags.request(a, p, c.Class, c.Count)
	if err != nil {
		return err
	}
	req.Seed, req.Sampling = c.Seed, c.of(policy, sampling)
	bar := a.newProgress("watching")
	r, err := redundancy.Look(a.ctx, p, redundancy.Options{
		Request: req,
		Policy:  policy,
		OnStage: func(what string) { a.note("%s", what) },
		OnPart:  bar.Set,
	}, c.Out)
	bar.Finish()
	if err != nil {
		return err
	}
	r.Model = c.Path
	if c.JSON {
		return a.printJSON(r)
	}
	a.note("%s", r.Summary())
	if r.Advice != "" {
		a.note("%s", r.Advice)
	}
	a.note("wrote %s", strings.Join(r.Files, ", "))
	return nil
}

// shown returns the policy that is recorded.
func (c *inspectCmd) shown(a *app, s tokencache.Sampling) (reuse.Policy, error) {
	if c.Policy != "" {
		return a.policy(string(c.Policy))
	}
	t, err := a.opened.bundle.Choose(s, 0)
	if none := (*bundle.NoPolicyError)(nil); errors.As(err, &none) {
		return a.policy(reuse.TokenCacheMethod)
	}
	return t, err
}
