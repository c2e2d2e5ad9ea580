package main

import (
	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/calibration"
)

type calibrateCmd struct {
	Model string `short:"m" once:"" help:"Model: a path, or the name of a bundled one: ${models}. Default: ${model}." placeholder:"PATH|NAME"`
	VAE   string `name:"vae" help:"The model's autoencoder, as for generate." placeholder:"PATH"`
	samplingFlags
	subjectFlags
	calibration.Flags
	Seed      uint64    `short:"s" help:"Seed of images and training." default:"${seed}"`
	Out       string    `short:"o" once:"" help:"Folder of the policy." placeholder:"DIR" required:""`
	Overwrite bool      `help:"Make the policy anew where --out holds a finished one."`
	Threads   int       `help:"Worker threads. Default: all processors." placeholder:"N"`
	Key       string    `help:"Which of several sets of weights in the checkpoint to take, as for generate." placeholder:"KEY"`
	DType     dtypeName `name:"dtype" help:"Number format of the network's blocks, as for generate; what trains stays float32." enum:"auto,f32,bf16,int8" default:"auto"`
	HeadsOpt  int       `name:"heads" help:"Attention heads, as for generate." placeholder:"N"`
	calibration.Target
	calibrateContract
	calibrateFormat
	JSON bool `name:"json" help:"Print the policy as one JSON object on standard output."`
}

// checkMode reports a flag of calibrate that was set, and that what calibrate is asked for does not
// use.
func (c *cli) checkMode(k *kong.Context) error {
	if command := k.Selected(); command == nil || command.Name != "calibrate" {
		return nil
	}
	mode := calibration.Making
	switch {
	case c.Calibrate.Contract != "":
		mode = calibration.Contracting
	case c.Calibrate.Choose != "":
		mode = calibration.Choosing
	case len(c.Calibrate.Bounds) > 0:
		mode = calibration.Searching
	}
	var set []string
	for _, p := range k.Path {
		if p.Flag != nil {
			set = append(set, p.Flag.Name)
		}
	}
	return c.Calibrate.CheckSet(mode, set)
}
