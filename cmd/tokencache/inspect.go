package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/inspect"
	"github.com/tokencache/tokencache/dit"
)

type inspectCmd struct {
	Path      string `arg:"" optional:"" help:"A checkpoint, an autoencoder, a folder, or a diffusers pipeline; with --redundancy also the name of an embedded model, by default ${model}."`
	Key       string `help:"Which of several sets of weights in the checkpoint to take. Default: an average (ema), if there is one." placeholder:"KEY"`
	Heads     int    `help:"Attention heads, where the checkpoint does not say." placeholder:"N"`
	InputSize int    `help:"Side of the latents, where the checkpoint does not say." placeholder:"N"`
	Decode    int    `name:"decode-layer" help:"Blocks of an MDTv1's decoder, where config.json does not say." placeholder:"N"`
	NoTensors bool   `help:"Leave the list of tensors out."`
	JSON      bool   `name:"json" help:"Print one JSON object on standard output."`

	redundancyFlags `embed:""`
}

func (c *inspectCmd) Run(a *app) error {
	switch {
	case c.Redundancy:
		return c.redundancy(a)
	case c.Path == "":
		return errors.New("give the path of a model, or --redundancy to look at one as it draws")
	}
	r, err := inspect.Path(a.ctx, c.Path, dit.Options{Key: c.Key, Heads: c.Heads, InputSize: c.InputSize, DecodeLayer: c.Decode})
	if err != nil {
		return err
	}
	if c.NoTensors {
		r.Tensors = nil
	}
	if c.JSON {
		return a.printJSON(r)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", key, fmt.Sprintf(format, args...)) }
	line("file", "%s", r.File)
	line("format", "%s", r.Format)
	if r.Taken != "" {
		line("taken", "%s", r.Taken)
	}
	line("is", "%s", r.Architecture)
	if r.Reason != "" {
		line("cannot run", "%s", r.Reason)
	}
	for _, p := range r.Properties {
		line(p.Name, "%s", p.Value)
	}
	for _, e := range r.Entries {
		line("also holds", "%s: %s", e.Name, e.Value)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(r.Tensors) == 0 {
		return nil
	}
	fmt.Fprintf(a.stdout, "\n%d tensors:\n", len(r.Tensors))
	for _, t := range r.Tensors {
		fmt.Fprintf(w, "  %s\t%s\t%v\n", t.Name, t.DType, shape(t))
	}
	return w.Flush()
}

func shape(t checkpoint.Info) string { return fmt.Sprint(t.Shape) }
