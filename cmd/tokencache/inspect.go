package main

import (
	"errors"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/inspect"
	"github.com/tokencache/tokencache/dit"
)

type inspectCmd struct {
	Path      string `arg:"" optional:"" help:"A checkpoint, an autoencoder, a folder, a diffusers pipeline, or the name of a bundled model: ${models}. Default with --redundancy: ${model}."`
	Key       string `help:"Which of several sets of weights in the checkpoint to take. Default: an average (ema), if there is one." placeholder:"KEY"`
	Heads     int    `help:"Attention heads, where the checkpoint does not say." placeholder:"N"`
	InputSize int    `help:"Side of the latents, where the checkpoint does not say." placeholder:"N"`
	Decode    int    `name:"decode-layer" help:"Blocks of an MDTv1's decoder, which its checkpoint does not say. Default: what config.json says, else 2." placeholder:"N"`
	NoTensors bool   `help:"Leave the list of tensors out."`
	JSON      bool   `name:"json" help:"Print one JSON object on standard output."`

	redundancyFlags `embed:"" group:"With --redundancy:"`
}

func (c *inspectCmd) Run(a *app) error {
	switch {
	case c.Redundancy:
		return c.redundancy(a)
	case c.Path == "":
		return errors.New("give a model, or --redundancy to watch one while it generates")
	}
	o := dit.Options{Key: c.Key, Heads: c.Heads, InputSize: c.InputSize, DecodeLayer: c.Decode}
	r, err := inspect.Path(a.ctx, c.Path, o)
	if err != nil {
		return err
	}
	if c.NoTensors {
		r.Tensors = nil
	}
	if c.JSON {
		return a.printJSON(r)
	}
	return r.Print(a.stdout)
}
