package main

import (
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/listing"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
)

// listCmd lists what can be named on the command line.
type listCmd struct {
	All      listAllCmd      `cmd:"" default:"withargs" help:"All of it in short (the default)."`
	Models   listModelsCmd   `cmd:"" help:"Bundled models."`
	Policies listPoliciesCmd `cmd:"" help:"Cache policies: the methods with their parameters, and what is bundled with a model."`
	Samplers listSamplersCmd `cmd:"" help:"Samplers."`
	Classes  listClassesCmd  `cmd:"" help:"Classes of a model, by number and name."`
}

type listAllCmd struct {
	JSON bool `name:"json" help:"Print one JSON object on standard output."`
}

func (c *listAllCmd) Run(a *app) error {
	all, err := listing.Everything(a.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(all)
	}
	return all.Write(a.stdout)
}

type listModelsCmd struct {
	JSON bool `name:"json" help:"Print one JSON object on standard output."`
}

func (c *listModelsCmd) Run(a *app) error {
	list, err := listing.Models()
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(map[string]any{"models": list})
	}
	return listing.WriteModels(a.stdout, list)
}

type listPoliciesCmd struct {
	Model string `short:"m" help:"Bundled model, whose policies are listed too." default:"${model}" placeholder:"NAME"`
	JSON  bool   `name:"json" help:"Print one JSON object on standard output."`
}

func (c *listPoliciesCmd) Run(a *app) error {
	b, err := models.Lookup(c.Model)
	if err != nil {
		return err
	}
	bundled, err := listing.Policies(b)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(map[string]any{"methods": reuse.Methods(), "model": c.Model, "bundled": bundled})
	}
	listing.WriteMethods(a.stdout)
	fmt.Fprintf(a.stdout, "\nBundled with %s:\n", c.Model)
	return listing.WritePolicies(a.stdout, bundled)
}

type listSamplersCmd struct {
	JSON bool `name:"json" help:"Print one JSON object on standard output."`
}

func (c *listSamplersCmd) Run(a *app) error {
	list := listing.Samplers()
	if c.JSON {
		return a.printJSON(map[string]any{"samplers": list})
	}
	return listing.WriteSamplers(a.stdout, list)
}

type listClassesCmd struct {
	Model     string `short:"m" help:"Model, as for generate." default:"${model}" placeholder:"PATH|NAME"`
	Heads     int    `help:"Attention heads, as for generate." placeholder:"N"`
	Key       string `help:"Which of several sets of weights, as for generate." placeholder:"KEY"`
	InputSize int    `help:"Side of the latents, as for generate." placeholder:"N"`
	JSON      bool   `name:"json" help:"Print one JSON object on standard output."`
}

func (c *listClassesCmd) Run(a *app) error {
	w, err := models.ResolveWeights(a.ctx, c.Model, dit.Options{Key: c.Key, Heads: c.Heads, InputSize: c.InputSize})
	if err != nil {
		return err
	}
	defer w.Close()
	list := listing.Classes(w)
	if c.JSON {
		return a.printJSON(map[string]any{"model": c.Model, "classes": list})
	}
	return listing.WriteClasses(a.stdout, list)
}

// policyText is the value of a flag that names a policy; "help" prints which there are and ends.
type policyText string

// AfterApply is called by kong when the flag was read.
func (t policyText) AfterApply(k *kong.Kong) error {
	if t == "help" {
		listing.WriteMethods(k.Stdout)
		fmt.Fprintln(k.Stdout, "Or the folder of a policy that calibrate made, "+
			"or one that is bundled with the model: see tokencache list policies.")
		k.Exit(0)
	}
	return nil
}
