package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/verify"
	"github.com/tokencache/tokencache/models/bundle"
)

type verifyCmd struct {
	Paths     []string  `arg:"" help:"Folders of a model or an autoencoder with recorded tensors (forward, sampling, cases.safetensors), folders or files of recordings for formula weights."`
	Tolerance *float64  `help:"Max error, relative to the reference's root mean square. Default: 1e-4, and 1e-3 for whole sampling runs." placeholder:"E"`
	Key       string    `help:"Which of several sets of weights in a checkpoint of PyTorch's format to take. Default: an average (ema), if there is one." placeholder:"KEY"`
	DType     dtypeName `name:"dtype" help:"Number format of the network's blocks: f32, bf16 or int8, the last two faster and less exact; auto is f32." enum:"auto,f32,bf16,int8" default:"auto"`
	Threads   int       `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON      bool      `name:"json" help:"Print one JSON object on standard output."`
}

func (c *verifyCmd) Run(a *app) error {
	if t := c.Tolerance; t != nil && !(*t > 0 && *t < 1) {
		return fmt.Errorf("--tolerance %v: want a number between 0 and 1", *t)
	}
	for _, path := range c.Paths {
		if _, err := os.Stat(path); err != nil && bundle.Lookup(path) != nil {
			return fmt.Errorf("%s is a bundled model, without recorded numbers of another program: "+
				"give a folder that has some, such as testdata/dit-tiny of a checkout, or try inspect %s", path, path)
		}
	}
	o := verify.Options{
		Tolerance: or(c.Tolerance, 0),
		DType:     c.DType.dtype(),
		Threads:   c.Threads,
		Key:       c.Key,
		OnWork:    func(what string) { a.note("%s", what) },
	}
	if !c.JSON {
		o.OnCheck = func(c verify.Check) { fmt.Fprintln(a.stdout, c) }
		o.OnSkip = func(s verify.Skip) { fmt.Fprintln(a.stdout, s) }
	}
	r, err := verify.Paths(a.ctx, c.Paths, o)
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	if c.JSON {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.stdout, "%d passed, %d failed\n", r.Passed, r.Failed)
	}
	if r.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d checks failed", r.Failed))
	}
	return err
}
