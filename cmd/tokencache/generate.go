package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

type generateCmd struct {
	Model string   `help:"Model: a checkpoint (.pt, .safetensors), a folder with one and perhaps config.json, a diffusers pipeline, or the name of an embedded model: ${models}. Default: ${model}." placeholder:"PATH|NAME"`
	VAE   string   `name:"vae" help:"Autoencoder that turns the model's latents into pixels: a file or a folder. A diffusers pipeline brings its own; a model of pixels needs none." placeholder:"PATH"`
	Class []string `help:"What to draw: a class by number or name, a list (3,5) or a range (0-9); may be repeated. Default: all classes." placeholder:"N|NAME" sep:"none"`
	Count int      `help:"Number of images in all; they cycle through the classes. Default: one of each class, at most 16." placeholder:"N"`
	Seed  string   `help:"Seed of the random numbers, 0 to 2^64-1. Default: a random one, which is printed." placeholder:"N"`
	samplingFlags
	Policy    string `help:"What to reuse from step to step: none, the name of a policy that comes with the model, the folder of a trained one (see calibrate), or NAME:key=value,... (see docs/tokencache.md). Default: what comes with the model for this sampler, these steps and this guidance, else none." placeholder:"NAME|DIR"`
	Speed     string `help:"Take the policy that comes with the model for this speed, times the uncached model: 1.5x, 2x, 3x, ... Default: 2.4x." placeholder:"X"`
	CacheMem  int    `name:"cache-memory" help:"Most megabytes that a policy may keep. Default: any number." placeholder:"MB"`
	Batch     int    `help:"Images denoised together." default:"4"`
	RNG       string `name:"rng" help:"Random numbers: own (image i of a seed is the same in any batch) or torch-cpu (the noise that PyTorch draws on a CPU, for whole batches, as in DiT's sampling loop; what PyTorch draws on a GPU cannot be reproduced)." enum:"own,torch-cpu" default:"own"`
	Threads   int    `help:"Worker threads. Default: all processors." placeholder:"N"`
	Heads     int    `help:"Attention heads, for a model of unusual width whose checkpoint does not say." placeholder:"N"`
	InputSize int    `help:"Side of the latents where the checkpoint does not say: 32 for images of 256 pixels, 64 for 512." placeholder:"N"`
	Decode    int    `name:"decode-layer" help:"Blocks of an MDTv1's decoder, which its checkpoint does not say. Default: what config.json says, else 2." placeholder:"N"`

	Out         string `help:"Where to write: a folder (a PNG for each image, and sheet.png), FILE.png (the sheet alone), or FILE.npz (samples as DiT's sample_ddp.py writes them)." default:"out" placeholder:"DIR|FILE"`
	Labels      bool   `help:"Also write the classes to the .npz, as arr_1, which evaluate compares with what it sees."`
	Resume      bool   `help:"Complete an interrupted run into the same --out: finished images stay as they are, the others are drawn. Needs the same --seed."`
	SaveLatents string `help:"Also write the final latents to a safetensors file (tensor latents)." placeholder:"FILE"`
	Noise       string `help:"Start from the tensor noise of a safetensors file, [count, channels, side, side], instead of random numbers." placeholder:"FILE"`
	Compare     bool   `help:"Also draw without the policy from the same noise, write both beside each other (--out FILE.png or DIR) and measure the speed-up."`
	Repeat      int    `help:"With --compare: runs of each, in turn; times are their medians." default:"3"`
	JSON        bool   `name:"json" help:"Print one JSON object on standard output; all else goes to standard error."`
}

func (c *generateCmd) Help() string {
	return `Examples:
  tokencache generate
  tokencache generate --class sneaker,bag --count 20 --seed 1
  tokencache generate --model DiT-XL-2-256x256.pt --vae sd-vae-ft-ema --class "golden retriever" --count 4
  tokencache generate --model DiT-XL-2-256x256.pt --vae sd-vae-ft-ema --count 50000 --sampler ddpm --steps 250 --cfg 1.5 --seed 0 --out samples.npz

Images are the same for the same flags and seed, bit for bit, whatever --threads is, and with --rng own whatever --batch is.`
}

// generateReport is what --json prints.
type generateReport struct {
	tokencache.Stats
	Model       string   `json:"model"`
	Fingerprint string   `json:"fingerprint"`
	Seed        uint64   `json:"seed"`
	Sampler     string   `json:"sampler"`
	CFG         float64  `json:"cfg"`
	CFGPower    float64  `json:"cfg_power"` // 0: the scale is the same at every step
	Policy      string   `json:"policy"`
	Classes     []int    `json:"classes"`
	Resumed     int      `json:"resumed"` // images that were there already
	Files       []string `json:"files"`
}

func (c *generateCmd) Run(a *app) (err error) {
	seed, err := c.seed()
	if err != nil {
		return err
	}
	p, sampling, err := a.open(&c.Model, tokencache.Options{VAE: c.VAE, Threads: c.Threads, Heads: c.Heads, InputSize: c.InputSize, DecodeLayer: c.Decode}, &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	sampling.RNG = diffusion.RNG(c.RNG)
	chosen, err := c.classes(p)
	if err != nil {
		return err
	}
	policy, err := c.policy(a, sampling)
	if err != nil {
		return err
	}
	req := tokencache.Request{
		Policy: policy, CacheMemory: int64(c.CacheMem) << 20,
		Classes: chosen, Seed: seed, Sampling: sampling, Batch: c.Batch,
	}
	if c.Noise != "" {
		if req.Noise, err = readNoise(c.Noise); err != nil {
			return err
		}
	}
	if err := p.Check(req); err != nil {
		return err
	}
	if c.Compare {
		return c.compare(a, p, req)
	}
	sink, err := output.Open(c.Out, output.Run{Classes: chosen, Names: p.ClassNames(), Texts: c.texts(p, sampling, policy, seed), Labels: c.Labels}, c.Resume)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()

	if c.Seed == "" {
		a.note("seed %d", seed)
	}
	bar := a.newProgress("denoising")
	resumed := 0
	for i := range chosen {
		if sink.Have(i) {
			resumed++
		}
	}
	var latents []float32
	req.Skip = sink.Have
	req.OnStep = func(s tokencache.Progress) {
		bar.set(float64(s.Images)*s.Share(), float64(s.Images))
	}
	req.OnImage = func(img tokencache.Image) error {
		if c.SaveLatents != "" {
			size := len(img.Latents)
			if latents == nil {
				latents = make([]float32, len(chosen)*size)
			}
			copy(latents[img.Index*size:], img.Latents)
		}
		return sink.Add(output.Image{Index: img.Index, Picture: &raster.Image{Height: img.Height, Width: img.Width, Channels: img.Channels, Pix: img.Pixels}})
	}
	if c.SaveLatents != "" && resumed > 0 {
		return errors.New("--save-latents cannot be used with --resume: the latents of images that are there already are gone")
	}
	result, err := p.Generate(a.ctx, req)
	bar.finish()
	if err != nil {
		if errors.Is(err, context.Canceled) && result != nil {
			a.note("stopped with %d of %d images finished; the same command with --seed %d --resume completes them", result.Stats.Images+resumed, len(chosen), seed)
		}
		return err
	}
	files, err := sink.Finish()
	if err != nil {
		return err
	}
	if c.SaveLatents != "" {
		cfg := p.Config()
		err := checkpoint.WriteSafetensors(c.SaveLatents, checkpoint.Content{
			Tensors: []checkpoint.Info{{Name: "latents", DType: checkpoint.F32, Shape: []int{len(chosen), cfg.InChannels, cfg.InputSize, cfg.InputSize}}},
			Read:    func(_ string, dst []float32) error { copy(dst, latents); return nil },
		})
		if err != nil {
			return err
		}
		files = append(files, c.SaveLatents)
	}
	s := result.Stats
	if c.JSON {
		return a.printJSON(generateReport{
			Stats: s, Model: c.Model, Fingerprint: p.Fingerprint(), Seed: seed, Sampler: c.Sampler, CFG: sampling.Guidance, CFGPower: sampling.GuidancePower, Policy: policy.String(),
			Classes: chosen, Resumed: resumed, Files: files,
		})
	}
	a.note("%d images of %s in %s: %s denoising (%d steps, %.0f GFLOP/s), %s decoding",
		s.Images, p.Config().Name(), seconds(s.Seconds+s.DecodeSeconds), seconds(s.Seconds), s.Steps,
		float64(s.FLOPs)/max(s.Seconds, 1e-9)/1e9, seconds(s.DecodeSeconds))
	if s.PSteps > 0 {
		a.note("policy %s: %d I-steps, %s, %.1f %% of the tokens computed; %.1f GFLOP, %.1f saved (%.2f times fewer); cache of %.1f MB",
			policy, s.ISteps, pSteps(s.PSteps, s.HalfSteps), 100*s.TokensShare, float64(s.FLOPs)/1e9, float64(s.UncachedFLOPs-s.FLOPs)/1e9, float64(s.UncachedFLOPs)/float64(s.FLOPs), float64(s.CacheBytes)/(1<<20))
	}
	a.note("wrote %s", strings.Join(files, ", "))
	return nil
}

// pSteps says how many P-steps there were, and how many of them were half steps.
func pSteps(all, half int) string {
	if half == 0 {
		return fmt.Sprintf("%d P-steps", all)
	}
	return fmt.Sprintf("%d P-steps (%d of them half steps)", all, half)
}

// policy returns what is to be reused: as asked for, or what comes with the model.
func (c *generateCmd) policy(a *app, sampling diffusion.Sampling) (reuse.Policy, error) {
	speed, err := parseSpeed(c.Speed)
	switch {
	case err != nil:
		return nil, err
	case c.Policy != "" && c.Speed != "":
		return nil, errors.New("give --policy or --speed, not both")
	case c.Policy != "":
		return a.policy(c.Policy)
	}
	t, err := a.opened.bundle.Choose(sampling, speed)
	none := (*bundle.NoPolicyError)(nil)
	switch {
	case err == nil:
		return t, nil
	case errors.As(err, &none) && none.Fastest == 0 && speed == 0:
		if none.Model != "" {
			a.note("uncached: %v; make one with %s", err, a.calibrateCommand(speed))
		}
		return reuse.None{}, nil
	case none != nil:
		return nil, fmt.Errorf("--speed %s: %w; make one with %s", c.Speed, err, a.calibrateCommand(speed))
	}
	return nil, err
}

// parseSpeed reads a speed such as 2.4x; an empty text is 0.
func parseSpeed(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	speed, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
	if err != nil || !(speed > 1 && speed < 1000) {
		return 0, fmt.Errorf("--speed %s: want a number above 1, such as 2.4x", text)
	}
	return speed, nil
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond).String()
}

func (c *generateCmd) seed() (uint64, error) {
	if c.Seed == "" {
		if c.Resume {
			return 0, errors.New("--resume needs the --seed of the run that was interrupted")
		}
		return uint64(rand.Uint32()), nil
	}
	seed, err := strconv.ParseUint(c.Seed, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("--seed %s: want a whole number from 0 to 2^64-1", c.Seed)
	}
	return seed, nil
}

// mostByDefault bounds the images drawn where neither classes nor a count were given.
const mostByDefault = 16

func (c *generateCmd) classes(p *tokencache.Pipeline) ([]int, error) {
	if c.Count < 0 {
		return nil, fmt.Errorf("--count %d: want 1 or more", c.Count)
	}
	count := c.Count
	var chosen []int
	if len(c.Class) > 0 {
		var err error
		if chosen, err = p.SelectClasses(c.Class); err != nil {
			return nil, err
		}
		if count == 0 {
			count = len(chosen)
		}
	} else {
		for class := range p.Config().NumClasses {
			chosen = append(chosen, class)
		}
		if count == 0 {
			count = min(len(chosen), mostByDefault)
		}
	}
	return classes.Cycle(chosen, count), nil
}

// texts are what a PNG file says of the run that made it.
func (c *generateCmd) texts(p *tokencache.Pipeline, s diffusion.Sampling, policy reuse.Policy, seed uint64) []raster.Text {
	t := []raster.Text{
		{Key: "Software", Value: "tokencache"},
		{Key: "model", Value: p.Config().Name()},
		{Key: "model fingerprint", Value: p.Fingerprint()},
		{Key: "seed", Value: strconv.FormatUint(seed, 10)},
		{Key: "rng", Value: c.RNG},
		{Key: "sampler", Value: c.Sampler},
		{Key: "steps", Value: c.Steps},
		{Key: "cfg", Value: strconv.FormatFloat(s.Guidance, 'g', -1, 64)},
		{Key: "policy", Value: policy.String()},
		{Key: "cpu level", Value: p.Level()},
	}
	add := func(used bool, key, value string) {
		if used {
			t = append(t, raster.Text{Key: key, Value: value})
		}
	}
	add(c.Eta != 0, "eta", strconv.FormatFloat(c.Eta, 'g', -1, 64))
	add(s.GuidancePower != 0, "cfg power", strconv.FormatFloat(s.GuidancePower, 'g', -1, 64))
	add(s.GuideAll, "cfg channels", "all")
	add(c.Clip, "clip", "true")
	add(c.RNG != string(diffusion.RNGOwn), "batch", strconv.Itoa(c.Batch))
	add(c.Noise != "", "noise", c.Noise)
	return slices.Clip(t)
}

func readNoise(path string) ([]float32, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Float32("noise")
}
