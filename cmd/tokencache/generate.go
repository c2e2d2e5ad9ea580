package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/raster"
)

type generateCmd struct {
	Model string   `help:"Model: a checkpoint (.pt, .safetensors), a folder with one and perhaps config.json, a diffusers pipeline, or the name of a bundled model: ${models}. Default: ${model}." placeholder:"PATH|NAME"`
	Key   string   `help:"Which of several sets of weights in the checkpoint to take. Default: an average (ema), if there is one." placeholder:"KEY"`
	VAE   string   `name:"vae" help:"Autoencoder that turns the model's latents into pixels: a file or a folder. A diffusers pipeline brings its own; a model of pixels needs none." placeholder:"PATH"`
	Class []string `help:"What to generate: a class by number or name, a list (3,5) or a range (0-9); may be repeated. Default: all classes." placeholder:"N|NAME" sep:"none"`
	Count int      `help:"Number of images in all; they cycle through the classes. Default: one of each class, at most 16." placeholder:"N"`
	Seed  string   `help:"Seed of the random numbers, 0 to 2^64-1. Default: a random one, which is printed." placeholder:"N"`
	samplingFlags
	Policy    policyText `help:"What to reuse from step to step: none, a policy bundled with the model, the folder of a calibrated one, or NAME:key=value,...; help lists them. Default: the bundled policy for this sampler, these steps and this guidance, else none." placeholder:"NAME|DIR"`
	Speed     string     `help:"Take the bundled policy for this speed, times the uncached model: 1.5x, 2x, 3x, ... Default: 2.4x." placeholder:"X"`
	CacheMem  int        `name:"cache-memory" help:"Max megabytes that the policy may keep for all images in flight. Default: no limit." placeholder:"MB"`
	Batch     int        `help:"Max images denoised at the same time." default:"4"`
	RNG       string     `name:"rng" help:"Random numbers: own (image i of a seed is the same in any batch) or torch-cpu (the noise that PyTorch makes on a CPU, for whole batches, as in DiT's sampling loop; PyTorch's noise on a GPU cannot be reproduced)." enum:"own,torch-cpu" default:"own"`
	Threads   int        `help:"Worker threads. Default: all processors." placeholder:"N"`
	Heads     int        `help:"Attention heads, for a model of unusual width whose checkpoint does not say." placeholder:"N"`
	InputSize int        `help:"Side of the latents where the checkpoint does not say: 32 for images of 256 pixels, 64 for 512." placeholder:"N"`
	Decode    int        `name:"decode-layer" help:"Blocks of an MDTv1's decoder, which its checkpoint does not say. Default: what config.json says, else 2." placeholder:"N"`

	Out         string `help:"Where to write: a folder (a PNG for each image, and sheet.png), FILE.png (the sheet alone), or FILE.npz (samples as DiT's sample_ddp.py writes them)." default:"out" placeholder:"DIR|FILE"`
	Labels      bool   `help:"Also write the classes to the .npz, as arr_1, which evaluate compares with what it sees."`
	Resume      bool   `help:"Complete an interrupted run into the same --out: finished images stay as they are, the others are generated. Needs the same --seed."`
	SaveLatents string `help:"Also write the final latents to a safetensors file (tensor latents)." placeholder:"FILE"`
	Noise       string `help:"Start from the tensor noise of a safetensors file, [count, channels, side, side], instead of random numbers." placeholder:"FILE"`
	Compare     bool   `help:"Also generate without the policy from the same noise, write both next to each other (--out FILE.png or DIR) and measure the speed-up."`
	Repeat      int    `help:"With --compare: runs of each, alternating; times are their medians." default:"3"`
	JSON        bool   `name:"json" help:"Print one JSON object on standard output; all else goes to standard error."`
}

func (c *generateCmd) Help() string {
	return `Examples:
  tokencache generate
  tokencache generate --class sneaker,bag --count 20 --seed 1
  tokencache generate --model DiT-XL-2-256x256.pt --vae sd-vae-ft-ema --class "golden retriever" --count 4
  tokencache generate --model DiT-XL-2-256x256.pt --vae sd-vae-ft-ema --count 50000 --sampler ddpm --steps 250 --guidance 1.5 --seed 0 --out samples.npz

Images are the same for the same flags and seed, bit for bit, whatever --threads is, and with --rng own whatever --batch is.`
}

func (c *generateCmd) Run(a *app) error {
	seed, err := c.seed()
	if err != nil {
		return err
	}
	p, sampling, err := a.open(&c.Model, c.options(), &c.samplingFlags)
	if err != nil {
		return err
	}
	defer p.Close()
	sampling.RNG = diffusion.RNG(c.RNG)
	req, err := c.request(a, p, sampling, seed)
	if err != nil {
		return err
	}
	if err := p.Check(req); err != nil {
		return err
	}
	if c.Compare {
		return c.compare(a, p, req)
	}
	return c.generate(a, p, req)
}

// generate generates the images and writes them as they are finished.
func (c *generateCmd) generate(a *app, p *tokencache.Pipeline, req tokencache.Request) (err error) {
	sink, err := output.Open(c.Out, output.Run{
		Classes: req.Classes,
		Names:   p.ClassNames(),
		Texts:   c.provenance(p, req).Texts(),
		Labels:  c.Labels,
	}, c.Resume)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	resumed := 0
	for i := range req.Classes {
		if sink.Have(i) {
			resumed++
		}
	}
	var latents *output.Latents
	if c.SaveLatents != "" {
		if resumed > 0 {
			return errors.New("--save-latents cannot be used with --resume: " +
				"the latents of images that are there already are gone")
		}
		latents = output.NewLatents(len(req.Classes), p.Config().InChannels, p.Config().InputSize)
	}
	if c.Seed == "" {
		a.note("seed %d", req.Seed)
	}
	bar := a.newProgress("denoising")
	req.Skip = sink.Have
	req.OnStep = func(s tokencache.Progress) { bar.set(s.Share(), 1) }
	req.OnImage = func(img tokencache.Image) error {
		if latents != nil {
			if err := latents.Add(img.Index, img.Latents); err != nil {
				return err
			}
		}
		return sink.Add(img.Index, rasterOf(img))
	}
	result, err := p.Generate(a.ctx, req)
	bar.finish()
	if err != nil {
		if errors.Is(err, context.Canceled) && result != nil {
			a.note("stopped with %d of %d images finished; the same command with --seed %d --resume completes them",
				result.Stats.Images+resumed, len(req.Classes), req.Seed)
		}
		return err
	}
	files, err := sink.Finish()
	if err != nil {
		return err
	}
	if latents != nil {
		if err := latents.Write(c.SaveLatents); err != nil {
			return err
		}
		files = append(files, c.SaveLatents)
	}
	return c.print(a, p, req, result.Stats, resumed, files)
}

// generateReport is what --json prints.
type generateReport struct {
	tokencache.Stats
	DenoiseSeconds float64  `json:"denoise_s"` // also where it is 0
	Model          string   `json:"model"`
	Fingerprint    string   `json:"fingerprint"`
	Seed           uint64   `json:"seed"`
	Sampler        string   `json:"sampler"`
	CFG            float64  `json:"cfg"`
	CFGPower       float64  `json:"cfg_power"` // 0: the scale is the same at every step
	Policy         string   `json:"policy"`
	Classes        []int    `json:"classes"`
	Resumed        int      `json:"resumed"` // images that were there already
	Files          []string `json:"files"`
}

// print says what was generated, and what it took.
func (c *generateCmd) print(
	a *app, p *tokencache.Pipeline, req tokencache.Request, s tokencache.Stats, resumed int, files []string,
) error {
	if c.JSON {
		return a.printJSON(generateReport{
			Stats:          s,
			DenoiseSeconds: s.Seconds,
			Model:          c.Model,
			Fingerprint:    p.Fingerprint(),
			Seed:           req.Seed,
			Sampler:        req.Sampler,
			CFG:            req.Guidance,
			CFGPower:       req.GuidancePower,
			Policy:         req.Policy.String(),
			Classes:        req.Classes,
			Resumed:        resumed,
			Files:          files,
		})
	}
	a.note("%d images of %s in %s: %s denoising (%d steps, %.0f GFLOP/s), %s decoding",
		s.Images, p.Config().Name(), seconds(s.Seconds+s.DecodeSeconds), seconds(s.Seconds), s.Steps,
		float64(s.FLOPs)/max(s.Seconds, 1e-9)/1e9, seconds(s.DecodeSeconds))
	if s.PSteps > 0 {
		a.note("policy %s: %d I-steps, %s, %.1f %% of the tokens computed; "+
			"%.1f GFLOP, %.1f saved (%.2f times fewer); cache of %.1f MB",
			req.Policy, s.ISteps, pSteps(s.PSteps, s.HalfSteps), 100*s.TokensShare, float64(s.FLOPs)/1e9,
			float64(s.UncachedFLOPs-s.FLOPs)/1e9, float64(s.UncachedFLOPs)/float64(s.FLOPs), float64(s.CacheBytes)/(1<<20))
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

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Millisecond).String()
}

// rasterOf returns an image as the packages that write it take it.
func rasterOf(img tokencache.Image) *raster.Image {
	return &raster.Image{Height: img.Height, Width: img.Width, Channels: img.Channels, Pix: img.Pixels}
}
