package tokencache

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"time"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/reuse"
)

// RNG names a source of random numbers.
type RNG string

const (
	RNGOwn   RNG = "own"       // a stream for each image: image i of a seed is the same in any batch
	RNGTorch RNG = "torch-cpu" // PyTorch's generator for CPUs, drawing for whole batches as DiT's sampling loop does
)

// defaultBatch is how many images are denoised together where a Request does not say.
const defaultBatch = 4

// Request says what to draw. Zero values mean what their comments say.
type Request struct {
	Classes []int // the class of each image; their number is that of the images
	Seed    uint64
	RNG     RNG // "" means RNGOwn

	Sampler string  // ddpm, ddim or dpm++; "" means ddim
	Steps   string  // "50", "ddim50", "10,15,20"; "" means 50
	Eta     float64 // of ddim

	Guidance         float64 // scale of classifier-free guidance; 0 and 1 mean none
	GuidancePower    float64 // 0: the same scale at every step; else it grows from 1, later for higher powers: diffusion.PowerCosine, MDT's with 4
	GuideAllChannels bool    // guide all channels of the noise, not only the first three as the official code does
	ClipDenoised     bool    // clamp each predicted image to [-1,1], for models of pixels

	Policy      reuse.Policy // what is reused from step to step; nil means nothing
	CacheMemory int64        // most bytes that the policy may keep; 0 means any number

	Batch int // images denoised together; 0 means 4
	// Undivided keeps the images of a batch together in one forward pass, for policies that watch or learn from all of them. Otherwise the processors share the images among
	// them where they can, each with a Run of the policy: the images are the same, sooner.
	Undivided bool
	Noise     []float32 // starts the images instead of random numbers: [images, channels, side, side]

	// Skip, if not nil, reports images that need not be drawn. The others come out as if none was skipped.
	Skip func(index int) bool
	// OnImage, if not nil, is given each image when it is finished, and Result.Images stays empty. An error ends the run.
	OnImage func(Image) error
	// OnState, if not nil, is given each image's latents before every step; position counts the steps up. It must copy what it keeps.
	OnState func(index, position int, x []float32)
	// OnPrediction, if not nil, is given what the model predicts for each image at every step, guided: C·side² values of noise, and as many more where the model learned the variance.
	// It must copy what it keeps.
	OnPrediction func(index, position int, out []float32)
	// OnStep, if not nil, is told of every denoising step of a batch.
	OnStep func(Progress)
}

// Progress says how far a run is.
type Progress struct {
	Step, Steps  int   // of the batch that is being denoised
	Images, Done int   // of the run: to be drawn, and finished
	Batch        int   // images of this batch
	FLOPs        int64 // of the run so far, as in Stats
}

// Image is a finished image.
type Image struct {
	Index                   int // in Request.Classes
	Class                   int
	Height, Width, Channels int
	Pixels                  []uint8   // [Height, Width, Channels], rounded as DiT's sample_ddp.py rounds
	Latents                 []float32 // what the model made: [C, side, side]
}

// RGBA returns the picture as the standard library has it. Of one channel it is grey.
func (m Image) RGBA() *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, m.Width, m.Height))
	for i := range m.Width * m.Height {
		p := m.Pixels[i*m.Channels:][:m.Channels]
		out.SetRGBA(i%m.Width, i/m.Width, color.RGBA{R: p[0], G: p[len(p)/2], B: p[len(p)-1], A: 0xff})
	}
	return out
}

// Result is what a run made and what it took.
type Result struct {
	Images []Image
	Stats  Stats
}

// Stats is what a run took.
type Stats struct {
	Images         int     `json:"images"`
	Steps          int     `json:"steps"`
	DenoiseSeconds float64 `json:"denoise_s"`      // model, guidance and sampler
	DecodeSeconds  float64 `json:"decode_s"`       // autoencoder
	FLOPs          int64   `json:"flops"`          // of model and policy, as tensor.Graph counts
	UncachedFLOPs  int64   `json:"uncached_flops"` // of the model alone for the same images without a policy
	CacheBytes     int64   `json:"cache_bytes"`
	ISteps         int     `json:"i_steps"`              // of an image, computed whole
	PSteps         int     `json:"p_steps"`              // of an image, where something was reused
	HalfSteps      int     `json:"half_steps,omitempty"` // of the P-steps, those at which guidance's conditional half was computed
	TokensShare    float64 `json:"tokens_computed"`      // share of all tokens of all blocks
	Threads        int     `json:"threads"`
	Level          string  `json:"cpu_level"`
}

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

// Plan returns what a policy is told of a sampler with so many steps.
func (p *Pipeline) Plan(sampler, steps string) (reuse.Plan, error) {
	s, err := diffusion.Plan{Method: sampler, Steps: steps, Variance: diffusion.VarianceOf(p.model.LearnSigma)}.Sampler()
	if err != nil {
		return reuse.Plan{}, err
	}
	return newPlan(sampler, steps, s), nil
}

func newPlan(sampler, steps string, s diffusion.Sampler) reuse.Plan {
	plan := reuse.Plan{Sampler: sampler, Spacing: steps, Timesteps: make([]int, 0, s.Steps()), Sigma: make([]float64, 0, s.Steps())}
	for i := s.Steps() - 1; i >= 0; i-- {
		plan.Timesteps = append(plan.Timesteps, s.Timestep(i))
		plan.Sigma = append(plan.Sigma, math.Sqrt(1/s.AlphaCumprod(i)-1))
	}
	return plan
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
