package main

import "github.com/tokencache/tokencache/cmd/tokencache/internal/calibration"

type calibrateCmd struct {
	Model string `short:"m" once:"" help:"Model: a path, or the name of a bundled one: ${models}. Default: ${model}." placeholder:"PATH|NAME"`
	VAE   string `name:"vae" help:"The model's autoencoder, as for generate." placeholder:"PATH"`
	samplingFlags
	calibration.Flags
	Seed      uint64    `short:"s" help:"Seed of images and training." default:"${seed}"`
	Out       string    `short:"o" once:"" help:"Folder of the policy." placeholder:"DIR" required:""`
	Overwrite bool      `help:"Make the policy anew where --out holds a finished one."`
	Threads   int       `help:"Worker threads. Default: all processors." placeholder:"N"`
	Key       string    `help:"Which of several sets of weights in the checkpoint to take, as for generate." placeholder:"KEY"`
	DType     dtypeName `name:"dtype" help:"Number format of the network's blocks, as for generate; what trains stays float32." enum:"auto,f32,bf16,int8" default:"auto"`
	HeadsOpt  int       `name:"heads" help:"Attention heads, as for generate." placeholder:"N"`
	calibrateTarget
	calibrateContract
	JSON bool `name:"json" help:"Print the policy as one JSON object on standard output."`
}

// calibrateTarget are the flags of calibrate that search among methods for what meets a target.
type calibrateTarget struct {
	Target    string `help:"Try methods and their parameters, and make the best policy that meets this: psnr>=30 or fd<=+4% (the fastest with a PSNR to the uncached images of 30 dB, or with a Fréchet distance at most 4 % above theirs), or speed=2x (the nearest images at that speed)." placeholder:"TARGET"`
	Methods   string `help:"Of --target: methods to try, by the names that compare has for them. Default: all except fewer steps, the controls and l2c." default:"${searchMethods}" placeholder:"NAME,..."`
	Evidence  int    `help:"Of --target: images of each policy that is tried." default:"32"`
	Reference string `help:"Of --target: real images, as for compare." placeholder:"PATH"`
}
