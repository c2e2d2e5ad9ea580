package tokencache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/reuse"
)

// Generate draws images. When ctx is done it stops within a step and returns ctx's error with the images finished until then.
func (p *Pipeline) Generate(ctx context.Context, req Request) (*Result, error) {
	r, err := p.newRun(req)
	if err != nil {
		return nil, err
	}
	p.graph.SetContext(ctx)
	defer p.idle()
	for _, batch := range r.batches() {
		err := r.draw(ctx, batch)
		r.count()
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return &r.result, err
		}
	}
	return &r.result, nil
}

// Check reports what Generate would refuse in a request, without drawing anything.
func (p *Pipeline) Check(req Request) error {
	_, err := p.newRun(req)
	return err
}

// run is the state of one Generate.
type run struct {
	p        *Pipeline
	req      Request
	sampler  diffusion.Sampler
	guidance diffusion.Guidance
	torch    *diffusion.TorchGenerator // nil with RNGOwn
	size     int                       // of an image's latents
	todo     int                       // images that are not skipped
	policy   reuse.Policy
	lanes    []*lane     // that denoise a batch
	before   reuse.Stats // of lanes that there were for batches of another size
	result   Result
}

func (p *Pipeline) newRun(req Request) (*run, error) {
	c := p.model.Config
	if req.Sampler == "" {
		req.Sampler = "ddim"
	}
	if req.Steps == "" {
		req.Steps = "50"
	}
	if req.Batch == 0 {
		req.Batch = defaultBatch
	}
	if req.Guidance == 0 {
		req.Guidance = 1
	}
	r := &run{p: p, req: req, size: c.InChannels * c.InputSize * c.InputSize, policy: req.Policy}
	if r.policy == nil {
		r.policy = reuse.None{}
	}
	switch {
	case len(req.Classes) == 0:
		return nil, errors.New("no images asked for: give at least one class")
	case req.Batch < 0:
		return nil, fmt.Errorf("batch of %d images: want 1 or more", req.Batch)
	case math.IsNaN(req.Guidance) || math.IsInf(req.Guidance, 0):
		return nil, fmt.Errorf("scale of guidance %g: want a finite number", req.Guidance)
	case req.Guidance != 1 && p.model.NoNullClass:
		return nil, fmt.Errorf("guidance of scale %g: the model has no null class, want none (scale 1)", req.Guidance)
	case !(req.GuidancePower >= 0):
		return nil, fmt.Errorf("power of guidance %g: want 0 or more", req.GuidancePower)
	case req.Noise != nil && len(req.Noise) != len(req.Classes)*r.size:
		return nil, fmt.Errorf("starting noise has %d numbers, want %d (%d images, %d channels, %d x %d)",
			len(req.Noise), len(req.Classes)*r.size, len(req.Classes), c.InChannels, c.InputSize, c.InputSize)
	}
	for _, class := range req.Classes {
		if class < 0 || class >= c.NumClasses {
			return nil, fmt.Errorf("class %d is out of range: this model has classes 0..%d", class, c.NumClasses-1)
		}
	}
	var err error
	r.sampler, err = diffusion.Plan{
		Method: req.Sampler, Steps: req.Steps, Eta: req.Eta, Variance: diffusion.VarianceOf(c.LearnSigma), ClipDenoised: req.ClipDenoised,
	}.Sampler()
	if err != nil {
		return nil, err
	}
	r.guidance = diffusion.Guidance{Scale: req.Guidance}
	if req.Guidance != 1 && req.GuidancePower > 0 {
		r.guidance.ScaleAt = diffusion.PowerCosine(req.Guidance, req.GuidancePower)
	}
	if req.GuideAllChannels {
		r.guidance.Kind = diffusion.GuideAll
	}
	switch req.RNG {
	case "", RNGOwn:
	case RNGTorch:
		r.torch = diffusion.NewTorchGenerator(req.Seed, diffusion.TorchAVX2)
	default:
		return nil, fmt.Errorf("unknown random numbers %q: want %s or %s", req.RNG, RNGOwn, RNGTorch)
	}
	for i := range req.Classes {
		if !r.skips(i) {
			r.todo++
		}
	}
	if err := r.divide(min(req.Batch, len(req.Classes))); err != nil {
		return nil, err
	}
	r.result.Stats = Stats{Steps: r.sampler.Steps(), Threads: p.Threads(), Level: p.Level()}
	return r, nil
}

func (r *run) skips(i int) bool { return r.req.Skip != nil && r.req.Skip(i) }

// batches divides the images among batches. PyTorch's numbers depend on what was drawn before, so with them skipped images keep their
// places, and their draws are made.
func (r *run) batches() [][]int {
	var all []int
	for i := range r.req.Classes {
		if r.torch != nil || !r.skips(i) {
			all = append(all, i)
		}
	}
	var batches [][]int
	for len(all) > 0 {
		n := min(r.req.Batch, len(all))
		batches = append(batches, all[:n])
		all = all[n:]
	}
	return batches
}

// count takes over what the cache did.
func (r *run) count() {
	c, s := r.cached(), &r.result.Stats
	s.CacheBytes = c.CacheBytes
	if all := c.ISteps + c.PSteps; all > 0 {
		s.ISteps = (s.Steps*c.ISteps + all/2) / all
		s.PSteps = s.Steps - s.ISteps
		s.HalfSteps = (s.Steps*c.HalfSteps + all/2) / all
	}
	s.TokensShare = 1
	if c.Tokens > 0 {
		s.TokensShare = float64(c.TokensDone) / float64(c.Tokens)
	}
}

// noises returns the source of noise of each image of a batch.
func (r *run) noises(batch []int) []diffusion.Noise {
	noises := make([]diffusion.Noise, len(batch))
	if r.torch == nil {
		for i, index := range batch {
			noises[i] = diffusion.NewStream(r.req.Seed, uint64(index))
		}
		return noises
	}
	rows := len(batch)
	if r.guidance.Enabled() {
		rows *= 2
	}
	shared := diffusion.NewTorchBatch(r.torch, len(batch), rows, r.size)
	for i := range batch {
		noises[i] = shared.Image(i)
	}
	return noises
}

// draw makes the images of a batch.
func (r *run) draw(ctx context.Context, batch []int) error {
	if err := r.divide(len(batch)); err != nil {
		return err
	}
	d := r.newDenoiser(batch)
	wanted := false
	for _, index := range batch {
		wanted = wanted || !r.skips(index)
	}
	if !wanted {
		d.drawNoiseOnly()
		return nil
	}
	for _, l := range r.lanes {
		l.cache.Reset()
		l.graph.SetContext(ctx)
	}
	start := time.Now()
	for !d.done() {
		if err := d.step(); err != nil {
			return err
		}
		if r.req.OnStep != nil {
			r.req.OnStep(Progress{
				Step: r.sampler.Steps() - 1 - d.paths[0].Index(), Steps: r.sampler.Steps(),
				Images: r.todo, Done: r.result.Stats.Images, Batch: len(batch), FLOPs: r.result.Stats.FLOPs,
			})
		}
	}
	r.result.Stats.DenoiseSeconds += time.Since(start).Seconds()
	for i, index := range batch {
		if r.skips(index) {
			continue
		}
		if err := r.finish(index, d.paths[i].X()); err != nil {
			return err
		}
	}
	return nil
}

// finish decodes an image and hands it over.
func (r *run) finish(index int, latents []float32) error {
	start := time.Now()
	img, err := r.p.decode(latents)
	if err != nil {
		return err
	}
	r.result.Stats.DecodeSeconds += time.Since(start).Seconds()
	r.result.Stats.Images++
	img.Index, img.Class = index, r.req.Classes[index]
	if r.req.OnImage != nil {
		return r.req.OnImage(img)
	}
	r.result.Images = append(r.result.Images, img)
	return nil
}

// decode turns latents into pixels.
func (p *Pipeline) decode(latents []float32) (Image, error) {
	img := Image{Latents: append([]float32(nil), latents...)}
	img.Height, img.Width, img.Channels = p.ImageSize()
	values := img.Latents
	if p.decoder != nil {
		g := p.graph
		g.Reset()
		z := g.New(1, len(latents))
		copy(z.Data, latents)
		p.decoder.Spec().FromDiffusion(z.Data)
		x, err := p.decoder.Decode(g, z, p.model.InputSize, p.model.InputSize)
		if err != nil {
			return Image{}, err
		}
		values = x.Flat()
	}
	m, err := raster.FromSample(values, img.Channels, img.Height, img.Width, raster.DiT)
	if err != nil {
		return Image{}, err
	}
	img.Pixels = m.Pix
	return img, nil
}

// Decode turns latents, or the values of a model of pixels, [C, side, side], into a picture, as Generate does with finished ones. It must not be called from within a Generate.
func (p *Pipeline) Decode(latents []float32) (Image, error) {
	c := p.model.Config
	if want := c.InChannels * c.InputSize * c.InputSize; len(latents) != want {
		return Image{}, fmt.Errorf("decode %d values: want %d (%d channels, %d x %d)", len(latents), want, c.InChannels, c.InputSize, c.InputSize)
	}
	defer p.graph.Reset()
	return p.decode(latents)
}
