package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/contracts"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/effect"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/summary"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

type generateCmd struct {
	promptFlags
	Model string   `short:"m" once:"" help:"Model: a checkpoint (.pt, .safetensors), a folder with one and perhaps config.json, a diffusers pipeline, or the name of a bundled model: ${models}. Default: ${text} for prompts and where nothing is asked for, ${model} for classes and other settings of their sampling." placeholder:"PATH|NAME"`
	Key   string   `help:"Which of several sets of weights in the checkpoint to take. Default: an average (ema), if there is one." placeholder:"KEY"`
	VAE   string   `name:"vae" help:"Autoencoder that turns the model's latents into pixels: a file or a folder. A diffusers pipeline brings its own; a model of pixels needs none." placeholder:"PATH"`
	Class []string `short:"c" help:"What to generate: a class by number or name, a list (3,5) or a range (0-9); may be repeated. Default: all classes." placeholder:"N|NAME" sep:"none"`
	Count *int     `short:"n" help:"Number of images in all, 1 to ${maxImages}; they cycle through the prompts or classes. Default: one of each prompt, or of each class, at most 16." placeholder:"N"`
	Seed  string   `short:"s" help:"Seed of the random numbers, 0 to 2^64-1. Default: a random one, which is printed." placeholder:"N"`
	samplingFlags
	Policy     policyText `help:"What to reuse from step to step: none, a policy bundled with the model, the folder of a calibrated one, or NAME:key=value,...; help lists them. Default: the bundled policy for this sampler, these steps and this guidance, else none." placeholder:"NAME|DIR"`
	Speed      string     `help:"Take the bundled policy for this speed, times the uncached model: 1.5x, 2x, 3x, ... Default: 2.4x, of ${text} 3x." placeholder:"X"`
	MinPSNR    *float64   `name:"min-psnr" help:"Keep a PSNR of at least this many dB of each image to the uncached run of the same sampler, steps and seed: forecasts are checked and, where needed, computed. At least 95 % of unseen images keep it, for policies of which a contract is calibrated (calibrate --contract) and in the number formats that it was calibrated in; without --policy and --speed it takes the bundled one that keeps it with the fewest operations, and computes everything where none has a contract for the sampling." placeholder:"DB"`
	Reference  string     `help:"What --min-psnr is to: uncached, or converged, the solution that a deterministic sampler converges to. What the uncached run itself misses is refused." enum:"uncached,converged," default:"" placeholder:"uncached|converged"`
	CacheMem   int64      `name:"cache-memory" help:"Max megabytes that the policy may keep for all images in flight. Default: no limit." placeholder:"MB"`
	Batch      int        `help:"Max images denoised at the same time, 1 or more." default:"4"`
	RNG        string     `name:"rng" help:"Random numbers: own (image i of a seed is the same in any batch) or torch-cpu (the noise that PyTorch makes on a CPU, for whole batches, as in DiT's sampling loop; PyTorch's noise on a GPU cannot be reproduced)." enum:"own,torch-cpu" default:"own"`
	DType      dtypeName  `name:"dtype" help:"Number format of the network's blocks: f32, bf16 or int8, the last two faster and less exact; auto is the one that calibrate --choose-dtype found for the policy in use, and f32 where it did not or with --min-psnr." enum:"auto,f32,bf16,int8" default:"auto"`
	CacheDType dtypeName  `name:"cache-dtype" help:"Number format of what policies forecast from: f32, or bf16 for half of the memory." enum:"f32,bf16" default:"f32"`
	Threads    int        `help:"Worker threads. Default: all processors." placeholder:"N"`
	Heads      int        `help:"Attention heads, for a model of unusual width whose checkpoint does not say." placeholder:"N"`
	InputSize  int        `help:"Side of the latents where the checkpoint does not say: 32 for images of 256 pixels, 64 for 512." placeholder:"N"`
	Decode     int        `name:"decode-layer" help:"Blocks of an MDTv1's decoder, which its checkpoint does not say. Default: what config.json says, else 2." placeholder:"N"`

	Path    string `name:"path-type" help:"A model with the tensors of a DiT is a SiT of this path, where its checkpoint does not say: Linear, GVP or VP." placeholder:"NAME"`
	Predict string `name:"prediction" help:"Likewise: it predicts velocity, noise, score or sample." placeholder:"NAME"`

	Out       string `short:"o" once:"" help:"Where to write: a folder (a PNG for each image, and sheet.png), FILE.png (the sheet alone; - for standard output), or FILE.npz (samples as DiT's sample_ddp.py writes them). Default: a new folder, out/0001, out/0002, ..." placeholder:"DIR|FILE"`
	Overwrite bool   `help:"Replace the images of another run, or of this one, in --out; with --compare, what was compared before."`
	Labels    bool   `help:"Also write the classes to the .npz, as arr_1, which evaluate compares with what it sees."`
	Resume    bool   `help:"Complete an interrupted run into the same --out: finished images stay as they are, the others are generated. Needs the same --seed."`
	shardFlags
	SaveLatents string `help:"Also write the final latents to a safetensors file (tensor latents)." placeholder:"FILE"`
	Noise       string `once:"" help:"Start from the tensor noise of a safetensors file, [count, channels, side, side], instead of random numbers." placeholder:"FILE"`
	Compare     bool   `help:"Also generate without the policy (or, where there is none, by the model's own sampler: 50 steps of DDIM for most) from the same noise, write both next to each other (--out FILE.png or DIR), and measure the speed-up, and the PSNR to the others and to the solution that a deterministic sampler converges to."`
	Repeat      int    `help:"With --compare: runs of each, 1 or more, alternating; times are their medians." default:"3"`
	JSON        bool   `name:"json" help:"Print one JSON object on standard output; all else goes to standard error."`

	given effect.Given `kong:"-"`
}

// AfterApply notes which flags there are.
func (c *generateCmd) AfterApply(k *kong.Context) error {
	c.given = effect.Of(k)
	return nil
}

func (c *generateCmd) Help() string {
	return `Examples:
  tokencache generate
  tokencache generate "a red heart, 3d style" "octopus" "pizza, noto style" --count 12
  tokencache generate --class sneaker,bag --count 20 --seed 1
  tokencache generate --model fashion sneaker bag --count 20 --seed 1
  tokencache generate --model minit2i "a red lighthouse at dusk" "an octopus" --count 8
  tokencache generate --model DiT-XL-2-256x256.pt --vae sd-vae-ft-ema --class "golden retriever" --count 4
  tokencache generate --model DiT-XL-2-256x256.pt --vae sd-vae-ft-ema --count 50000 --sampler ddpm --steps 250 --guidance 1.5 --seed 0 --out samples.npz

Images are the same for the same flags and seed, bit for bit, whatever --threads is, and with --rng own whatever --batch is.

An image of a bundled model takes about a fifth of a second on two cores, one of DiT-XL/2 at 256 pixels some minutes. Progress says how long a run takes.`
}

func (c *generateCmd) Run(a *app) error {
	p, req, err := c.open(a)
	if err != nil {
		return err
	}
	defer p.Close()
	if c.Compare {
		discard, err := c.prepareCompare(a, req)
		if err != nil {
			return err
		}
		defer discard()
		return c.compare(a, p, req)
	}
	return c.generate(a, p, req)
}

// open opens the model and returns it with what the flags ask for, checked.
func (c *generateCmd) open(a *app) (p *tokencache.Pipeline, req tokencache.Request, err error) {
	if err := c.checkOut(); err != nil {
		return nil, req, err
	}
	seed, err := parseSeed(c.Seed)
	if err != nil {
		return nil, req, err
	}
	if p, req, err = c.openAs(a, seed, c.DType.dtype()); err != nil {
		return nil, req, err
	}
	if d := c.DType.under(a.opened.policy, c.Model, or(c.MinPSNR, 0)); d != c.DType.dtype() {
		p.Close()
		return c.openAs(a, seed, d)
	}
	return p, req, nil
}

// openAs opens the model in a number format.
func (c *generateCmd) openAs(a *app, seed uint64, d tokencache.DType) (
	p *tokencache.Pipeline, req tokencache.Request, err error,
) {
	if c.Model == "" && c.wantsText() {
		c.Model = models.DefaultText
	}
	p, sampling, err := a.open(&c.Model, c.options(tokencache.Options{
		VAE:         c.VAE,
		Key:         c.Key,
		Threads:     c.Threads,
		DType:       d,
		CacheDType:  c.CacheDType.dtype(),
		Heads:       c.Heads,
		InputSize:   c.InputSize,
		DecodeLayer: c.Decode,
		Path:        diffusion.Path(c.Path),
		Prediction:  diffusion.Prediction(c.Predict),
	}), &c.samplingFlags)
	if err != nil {
		return nil, req, err
	}
	sampling.RNG = diffusion.RNG(c.RNG)
	if req, err = c.request(a, p, sampling, seed); err != nil {
		p.Close()
		return nil, req, err
	}
	return p, req, nil
}

// wantsText reports whether images of no model in particular are those of the text-to-image model:
// where there are prompts, and where nothing is asked for that is about classes or their sampling.
func (c *generateCmd) wantsText() bool {
	if len(c.Prompt) > 0 || c.PromptFile != "" {
		return true
	}
	return len(c.Class) == 0 && c.Sampler == "" && c.Steps == "" && c.Policy == "" && c.Speed == "" &&
		c.Eta == nil && c.Noise == ""
}

// request returns what the flags ask for, checked.
func (c *generateCmd) request(a *app, p *tokencache.Pipeline, s tokencache.Sampling, seed uint64) (
	req tokencache.Request, err error,
) {
	req = tokencache.Request{
		Seed:        seed,
		Sampling:    s,
		MinPSNR:     or(c.MinPSNR, 0),
		Reference:   reuse.Reference(c.Reference),
		CacheMemory: c.CacheMem << 20,
		Batch:       c.Batch,
	}
	if err := c.subjects(a, p, c.Class, c.Count, &req); err != nil {
		return req, err
	}
	if req.Policy, err = c.policy(a, p, s); err != nil {
		return req, err
	}
	req.Sampling = c.of(req.Policy, s)
	a.opened.sampling, a.opened.policy = req.Sampling, req.Policy
	if c.Noise != "" {
		if req.Noise, err = output.ReadNoise(a.here(c.Noise)); err != nil {
			return req, err
		}
	}
	if err := p.Check(req); err != nil {
		return req, err
	}
	if err := c.checkEffect(p, req); err != nil {
		return req, err
	}
	if d, ok := req.Policy.(reuse.Described); ok && d.Kind() == reuse.Uncached && req.Reference != reuse.ToConverged {
		req.Policy = reuse.None{} // a folder may hold a sampler alone
		if req.MinPSNR != 0 {
			a.opened.remark("--min-psnr %g: %s", req.MinPSNR, contracts.Computed(a.opened.none))
		}
	}
	return req, nil
}

// policy returns what is to be reused: as asked for, or what is bundled with the model.
func (c *generateCmd) policy(a *app, p *tokencache.Pipeline, s tokencache.Sampling) (reuse.Policy, error) {
	speed, err := parseSpeed(c.Speed)
	switch {
	case err != nil:
		return nil, err
	case c.Policy != "" && c.Speed != "":
		return nil, errors.New("give --policy or --speed, not both")
	case c.Reference != "" && c.MinPSNR == nil:
		return nil, errors.New("--reference says what --min-psnr is to: give that, too")
	case c.Policy != "":
		return a.policy(string(c.Policy))
	}
	if c.MinPSNR != nil && speed == 0 {
		promise := reuse.Promise{MinPSNR: *c.MinPSNR, Reference: reuse.Reference(c.Reference)}
		t, err := a.opened.bundle.ForPSNR(p.Setting(s), promise)
		if err == nil {
			return t, nil
		}
		if errors.As(err, &a.opened.none) {
			return reuse.None{}, nil
		}
		return nil, err
	}
	t, err := a.opened.bundle.Choose(s, speed)
	none := (*bundle.NoPolicyError)(nil)
	switch {
	case err == nil:
		const slack = 0.05 // a share of the speed that is not worth a word
		if speed != 0 && math.Abs(t.Speed.Wanted/speed-1) > slack {
			a.opened.remark("--speed %s: the nearest policy that is bundled is of %gx", c.Speed, t.Speed.Wanted)
		}
		if note := bundle.GuidanceNote(t, s.Guidance); note != "" {
			a.opened.remark("%s", note)
		}
		return t, nil
	case !errors.As(err, &none):
		return nil, err
	case speed != 0:
		return nil, fmt.Errorf("--speed %s: %w; make one with %s", c.Speed, err, a.calibrateCommand(speed))
	case none.Model != "":
		a.opened.remark("uncached: %v; make one with %s", err, a.calibrateCommand(0))
	}
	return reuse.None{}, nil
}

// generate generates the images and writes them as they are finished.
func (c *generateCmd) generate(a *app, p *tokencache.Pipeline, req tokencache.Request) (err error) {
	part, err := c.part(a, p, req)
	if err != nil {
		return err
	}
	w, err := output.NewWriter(p, req, output.Options{
		Path:    c.Out,
		Mode:    output.Mode{Resume: c.Resume, Overwrite: c.Overwrite},
		Labels:  c.Labels,
		Latents: c.SaveLatents,
		Noise:   c.Noise,
		Stdout:  a.raw,
		Part:    part,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	a.printRemarks()
	if c.Seed == "" {
		a.note("seed %d", req.Seed)
	}
	for _, remark := range w.Remarks {
		a.note("%s", remark)
	}
	bar := a.newProgress("denoising")
	req.Skip, req.OnImage = w.Have, w.Add
	req.OnStep = func(s tokencache.Progress) { bar.Set(s.Share(), 1) }
	result, err := p.Generate(a.ctx, req)
	bar.Finish()
	if err != nil {
		if errors.Is(err, context.Canceled) && result != nil {
			a.note("%s", w.Stopped(result.Stats.Images, req.Seed, c.Out == ""))
		}
		return err
	}
	r := summary.Of(p, req, result.Stats)
	r.Model, r.Resumed = c.Model, w.Resumed
	if r.Files, err = w.Finish(); err != nil {
		return err
	}
	files := strings.Join(r.Files, ", ")
	switch {
	case c.JSON:
		return a.printJSON(r)
	case w.Complete:
		a.note("all %d images of this run are there already: %s", w.Images, files)
		return nil
	}
	a.note("%s", strings.Join(r.Lines(), "\n"))
	a.note("wrote %s", files)
	return nil
}

// checkEffect reports flags that have no effect in the run that they ask for.
func (c *generateCmd) checkEffect(p *tokencache.Pipeline, req tokencache.Request) error {
	d, ok := req.Policy.(reuse.Described)
	r := c.run()
	r.Opened = true
	r.Sampling = req.Sampling.WithDefaults()
	r.AddsNoise = req.Sampling.Stochastic()
	r.Uncached = ok && d.Kind() == reuse.Uncached
	r.Prompts = p.TakesPrompts()
	return r.Check(c.given)
}

// run returns what the flags alone say of the run.
func (c *generateCmd) run() effect.Generate {
	return effect.Generate{
		Sampler:   c.Sampler,
		Compare:   c.Compare,
		Out:       c.Out != "",
		Noise:     c.Noise != "",
		BF16Cache: c.CacheDType.dtype() != tokencache.F32,
		TorchRNG:  c.RNG == string(diffusion.RNGTorch),
	}
}

// checkOut reports flags of the output that do not go together.
func (c *generateCmd) checkOut() error {
	if err := cmp.Or(c.checkShard(), c.run().Check(c.given)); err != nil {
		return err
	}
	switch {
	case c.Resume && c.Seed == "":
		return errors.New("--resume needs the --seed of the run that was interrupted")
	case c.Resume && c.Out == "":
		return errors.New("--resume needs the --out of the run that was interrupted")
	case c.Resume && c.Overwrite:
		return errors.New("give --resume or --overwrite, not both")
	case c.Compare && (c.Resume || c.Labels || c.SaveLatents != ""):
		return errors.New("--compare writes one sheet, and takes no --resume, --labels or --save-latents")
	case c.Out == output.Stdout && c.JSON:
		return errors.New("--out - and --json both write to standard output: give one of them")
	case c.MinPSNR != nil && !(*c.MinPSNR > 0 && *c.MinPSNR < math.Inf(1)):
		return fmt.Errorf("--min-psnr %g: want more than 0 dB", *c.MinPSNR)
	case c.Batch < 1:
		return fmt.Errorf("--batch %d: want 1 or more", c.Batch)
	case c.Count != nil && (*c.Count < 1 || *c.Count > maxCount):
		return fmt.Errorf("--count %d: want 1 to %d", *c.Count, maxCount)
	}
	return output.Apart([]string{c.SaveLatents, c.Out}, c.Model, c.VAE, c.Noise, c.Solver, c.PromptFile, c.Encoded)
}

// maxCount bounds the images of one run: twenty times as many as FID is computed of.
const maxCount = 1_000_000

// prepareCompare refuses what cannot be compared or written, before the work. Without --out it
// makes a new folder, which discard removes again if nothing was written.
func (c *generateCmd) prepareCompare(a *app, req tokencache.Request) (discard func(), err error) {
	own := ownSampling(a, req.Sampling)
	if _, none := req.Policy.(reuse.None); none && req.Sampling.WithDefaults() == own {
		return nil, fmt.Errorf("--compare: nothing to compare with: neither a policy nor another sampler "+
			"than the model's own, %s, is in use; give --policy, --speed, --sampler or --steps", summary.Steps(own))
	}
	if c.Out, discard, err = output.PreparePairs(c.Out, c.Overwrite); err != nil {
		return nil, fmt.Errorf("--compare: %w", err)
	}
	return discard, nil
}

// ownSampling returns how the model in use is sampled where nothing is asked for, with the guidance
// of s.
func ownSampling(a *app, s tokencache.Sampling) tokencache.Sampling {
	own := a.opened.suits
	own.Guidance, own.GuidancePower, own.GuideAll = s.Guidance, s.GuidancePower, s.GuideAll
	own.GuidanceLow, own.GuidanceHigh = s.GuidanceLow, s.GuidanceHigh
	own.Clip, own.RNG = s.Clip, s.RNG
	return own.WithDefaults()
}

// compare generates with the policy and without it or, where there is none, with the sampler and
// with the model's own; and the solution that the sampler converges to.
func (c *generateCmd) compare(a *app, p *tokencache.Pipeline, req tokencache.Request) error {
	kinds := [2]string{"uncached", req.Policy.String()}
	with := req.Sampling
	if _, none := req.Policy.(reuse.None); none {
		with = ownSampling(a, req.Sampling)
		kinds = [2]string{summary.Steps(with), summary.Steps(req.Sampling)}
	}
	a.printRemarks()
	if c.Seed == "" {
		a.note("seed %d", req.Seed)
	}
	bar := a.newProgress("comparing")
	r, err := measure.CompareBoth(a.ctx, p, req, with, c.Repeat, bar.Set)
	bar.Finish()
	if err != nil {
		return err
	}
	distances, err := a.distances(p, len(r.Cached), req.Seed)
	if err != nil {
		return err
	}
	if distances != nil {
		if r.Frechet, r.FrechetRatio, err = distances(a.ctx, r.Cached, r.Uncached); err != nil {
			return err
		}
	}
	if err := output.PairsOf(p, req, summary.Captions(r, kinds), r.Uncached, r.Cached).Write(c.Out); err != nil {
		return err
	}
	if c.JSON {
		pairs := summary.OfPairs(p, req, r)
		pairs.Model, pairs.Files = c.Model, []string{c.Out}
		return a.printJSON(pairs)
	}
	a.note("%s\n%s\nwrote %s", kinds[1], strings.Join(summary.Compared(r, kinds), "\n"), c.Out)
	return nil
}
