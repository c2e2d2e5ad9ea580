package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/imagenet"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
)

// listCmd lists what can be named on the command line.
type listCmd struct {
	Models   listModelsCmd   `cmd:"" help:"Bundled models."`
	Policies listPoliciesCmd `cmd:"" help:"Cache policies: the methods with their parameters, and what is bundled with a model."`
	Samplers listSamplersCmd `cmd:"" help:"Samplers."`
	Classes  listClassesCmd  `cmd:"" help:"Classes of a model, by number and name."`
}

type listModelsCmd struct {
	JSON bool `name:"json" help:"Print one JSON object on standard output."`
}

// listedModel is a bundled model, for --json.
type listedModel struct {
	Name         string   `json:"name"`
	Architecture string   `json:"architecture"`
	Size         int      `json:"size"` // side of the images, in pixels
	Channels     int      `json:"channels"`
	Classes      int      `json:"classes"`
	Guidance     float64  `json:"guidance"`
	Policies     []string `json:"policies"`
}

func (c *listModelsCmd) Run(a *app) error {
	var list []listedModel
	for _, name := range models.Names() {
		m, err := describeModel(bundle.Lookup(name))
		if err != nil {
			return err
		}
		list = append(list, m)
	}
	if c.JSON {
		return a.printJSON(map[string]any{"models": list})
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, m := range list {
		fmt.Fprintf(w, "%s\t%s; %dx%d pixels, %d classes, guidance %g, %d policies\n",
			m.Name, m.Architecture, m.Size, m.Size, m.Classes, m.Guidance, len(m.Policies))
	}
	return w.Flush()
}

// describeModel describes a bundled model.
func describeModel(b *bundle.Bundle) (listedModel, error) {
	w, err := b.Weights()
	if err != nil {
		return listedModel{}, err
	}
	defer w.Close()
	m := listedModel{
		Name:         b.Name,
		Architecture: w.Config.Name(),
		Size:         w.InputSize,
		Channels:     w.InChannels,
		Classes:      w.NumClasses,
		Guidance:     b.Sampling.WithDefaults().Guidance,
	}
	policies, err := b.Policies()
	for _, t := range policies {
		m.Policies = append(m.Policies, t.String())
	}
	return m, err
}

type listClassesCmd struct {
	Model     string `help:"Model, as for generate." default:"${model}" placeholder:"PATH|NAME"`
	Heads     int    `help:"Attention heads, as for generate." placeholder:"N"`
	Key       string `help:"Which of several sets of weights, as for generate." placeholder:"KEY"`
	InputSize int    `help:"Side of the latents, as for generate." placeholder:"N"`
	JSON      bool   `name:"json" help:"Print one JSON object on standard output."`
}

// listedClass is a class of a model, for --json.
type listedClass struct {
	Class int    `json:"class"`
	Name  string `json:"name,omitempty"`
}

func (c *listClassesCmd) Run(a *app) error {
	w, err := models.ResolveWeights(a.ctx, c.Model, dit.Options{Key: c.Key, Heads: c.Heads, InputSize: c.InputSize})
	if err != nil {
		return err
	}
	defer w.Close()
	names := w.ClassNames
	if names == nil && w.NumClasses == imagenet.Count {
		names = imagenet.Names()
	}
	list := make([]listedClass, w.NumClasses)
	for i := range list {
		if list[i].Class = i; i < len(names) {
			list[i].Name = names[i]
		}
	}
	if c.JSON {
		return a.printJSON(map[string]any{"model": c.Model, "classes": list})
	}
	for _, class := range list {
		fmt.Fprintln(a.stdout, strings.TrimSpace(fmt.Sprint(class.Class, " ", class.Name)))
	}
	return nil
}
