package main

import "github.com/tokencache/tokencache/cmd/tokencache/internal/calibration"

type calibrateCmd struct {
	Model string `short:"m" once:"" help:"Model: a path, or the name of a bundled one: ${models}. Default: ${model}." placeholder:"PATH|NAME"`
	VAE   string `name:"vae" help:"The model's autoencoder, as for generate." placeholder:"PATH"`
	samplingFlags
	calibration.Flags
	Seed      uint64 `short:"s" help:"Seed of images and training." default:"${seed}"`
	Out       string `short:"o" once:"" help:"Folder of the policy." placeholder:"DIR" required:""`
	Overwrite bool   `help:"Make the policy anew where --out holds a finished one."`
	Threads   int    `help:"Worker threads. Default: all processors." placeholder:"N"`
	Key       string `help:"Which of several sets of weights in the checkpoint to take, as for generate." placeholder:"KEY"`
	HeadsOpt  int    `name:"heads" help:"Attention heads, as for generate." placeholder:"N"`
	calibrateTarget
	calibrateContract
	JSON bool `name:"json" help:"Print the policy as one JSON object on standard output."`
}

// calibrateTarget are the flags of calibrate that search among methods for what meets a target.
type calibrateTarget struct {
	Target    []string `help:"Search samplers, spacings, steps and cache policies together for the best that meets this: psnr>=30 or fd<=+4% (the fastest with a PSNR of 30 dB, see --reference, or with a Fréchet distance at most 4 % above the uncached images'), speed=2x (the nearest images at that speed), or several (psnr>=30,speed=2x). It says beforehand how long it takes." placeholder:"TARGET" sep:"none"`
	Methods   string   `help:"Of --target: methods to try, by the names that compare has for them. Default: all except the controls, the paper's versions and l2c." default:"${searchMethods}" placeholder:"NAME,..."`
	Evidence  int      `help:"Of --target: images that the best candidates are chosen by; all are tried on 4 of them. The answer is measured on --measure others. Default: 16, or 32 for fd." placeholder:"N"`
	Reference []string `help:"Of --target: what PSNR is to: uncached, the uncached run of the same sampler, steps and seed, which admits the cache policies on the sampling that was asked for; or converged, the solution that deterministic samplers converge to, which admits other samplers and steps too. Default: uncached for psnr, converged for speed alone. Also real images for fd, as for compare; the flag may be repeated." placeholder:"uncached|converged|PATH" sep:"none"`
}
