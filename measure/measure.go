// Package measure compares a policy or a sampler with the uncached model: the same images from the
// same noise, runs of both alternating, and both against the solution that the sampler converges
// to. It may use the library and evaluation; it writes and prints nothing.
package measure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/busy"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/reuse"
)

// Comparison is a request against another for the same images: its policy against the uncached
// model, or its sampler against another.
type Comparison struct {
	// Cost is that of one run of the request, without Seconds: WallSeconds is the median of all
	// runs. UncachedFLOPs are those of the other request.
	reuse.Cost
	// WallSeconds is the time of denoising: model, predictor, selection, gathers, guidance,
	// sampler.
	WallSeconds         float64 `json:"wall_s"`
	UncachedWallSeconds float64 `json:"uncached_wall_s"` // likewise of the other request
	Speedup             float64 `json:"speedup"`

	// PSNRUncached is the images' to those of Baseline, PSNRConverged to the converged solution:
	// see Converge.
	PSNRUncached  *eval.Fidelity `json:"psnr_uncached"`
	PSNRConverged *eval.Fidelity `json:"psnr_converged,omitempty"`
	Baseline      Baseline       `json:"uncached"`
	Solution      *Solution      `json:"converged,omitempty"`
	NoSolution    string         `json:"no_converged,omitempty"` // why there is none
	Note          string         `json:"note,omitempty"`         // what there is to know of the images

	// Frechet is the images' distance from real ones, and FrechetRatio the factor by which it is
	// larger than that of the others, with its paired interval; nil if it was not measured.
	Frechet      *eval.Estimate `json:"frechet,omitempty"`
	FrechetRatio *eval.Estimate `json:"frechet_ratio,omitempty"`

	Images int `json:"images"`
	Repeat int `json:"repeat"`

	// Load is that of the machine before the measurement, and Disturbed what says that the times
	// are wrong: see busy.Timing.
	Load      float64  `json:"load"`
	Disturbed []string `json:"disturbed,omitempty"`
	// Untimed says that there is no time: the costs were counted on another machine.
	Untimed bool `json:"untimed,omitempty"`

	Cached, Uncached []tokencache.Image `json:"-"`
	Times            []float64          `json:"-"` // of each run of the request

	Steps        []StepCost `json:"-"` // of each step of an image of the request
	UncachedStep StepCost   `json:"-"` // of a step of the other
}

// Baseline is the uncached run that a request is compared with.
type Baseline struct {
	Sampler string `json:"sampler"`
	Steps   int    `json:"steps"`
	Spacing string `json:"spacing,omitempty"`
	// PSNRConverged is how near its own images are to the converged solution.
	PSNRConverged *eval.Fidelity `json:"psnr_converged,omitempty"`
}

// Solution is the converged solution of a request: see tokencache.Converged.
type Solution struct {
	Evaluations int     `json:"evaluations"`
	Error       float64 `json:"error"` // of latents, at most
	// PSNRHalf is how near the first images of half the steps are: the solution's own error is
	// smaller.
	PSNRHalf *eval.Fidelity `json:"psnr_half,omitempty"`
}

// SolutionOf returns what there is to say of a converged solution whose images are kept.
func SolutionOf(c *tokencache.Converged) (*Solution, error) {
	var checked []tokencache.Image
	for _, half := range c.Half {
		for _, m := range c.Images {
			if m.Index == half.Index {
				checked = append(checked, m)
			}
		}
	}
	f, err := Fidelity(checked, c.Half)
	return &Solution{Evaluations: c.Evaluations, Error: c.Error, PSNRHalf: f}, err
}

// StepCost is the cost of a denoising step of an image.
type StepCost struct {
	Millis float64 `json:"ms"`
	FLOPs  int64   `json:"flops"`
}

// stepWatch measures the steps of the images of several runs.
type stepWatch struct {
	millis, flops [][]float64 // of each step, in each image
}

func (w *stepWatch) add(p tokencache.Progress) {
	for len(w.millis) < p.Steps {
		w.millis, w.flops = append(w.millis, nil), append(w.flops, nil)
	}
	i := p.Step - 1
	w.millis[i] = append(w.millis[i], 1000*p.Seconds)
	w.flops[i] = append(w.flops[i], float64(p.FLOPs))
}

// costs are the medians of each step.
func (w *stepWatch) costs() []StepCost {
	list := make([]StepCost, len(w.millis))
	for i := range list {
		list[i] = StepCost{median.Of(w.millis[i]), int64(median.Of(w.flops[i]))}
	}
	return list
}

// middle is the median of all steps.
func (w *stepWatch) middle() StepCost {
	return StepCost{median.Of(slices.Concat(w.millis...)), int64(median.Of(slices.Concat(w.flops...)))}
}

// maxWarmup is how many images the warm-up has at most.
const maxWarmup = 4

// DDIM50 is 50 steps of DDIM under the guidance of s, for what is measured on any model.
func DDIM50(s tokencache.Sampling) tokencache.Sampling {
	return tokencache.Sampling{
		Sampler:       "ddim",
		Steps:         50,
		Guidance:      s.Guidance,
		GuidancePower: s.GuidancePower,
		GuideAll:      s.GuideAll,
		Clip:          s.Clip,
		RNG:           s.RNG,
	}
}

// Compare generates a request with its policy and without it: see CompareWith.
func Compare(ctx context.Context, p *tokencache.Pipeline, req tokencache.Request, repeat int) (*Comparison, error) {
	if req.Policy == nil {
		const want = "a policy to compare with the uncached model"
		return nil, &tokencache.FieldError{Field: "Policy", Value: "none", Want: want}
	}
	return CompareWith(ctx, p, req, req.Sampling, repeat)
}

// CompareBoth is CompareWith, and then Converge. It calls progress with what is done of all,
// instead of the request's OnStep.
func CompareBoth(ctx context.Context, p *tokencache.Pipeline, req tokencache.Request,
	with tokencache.Sampling, repeat int, progress func(done, all float64)) (*Comparison, error) {
	const solution = 4 // a converged image takes about as long as so many others
	all, done, weight := float64((2*repeat+solution)*req.Images()), 0.0, 1.0
	req.OnStep = func(s tokencache.Progress) {
		done += weight / float64(s.Steps)
		progress(done, all)
	}
	c, err := CompareWith(ctx, p, req, with, repeat)
	if err != nil {
		return nil, err
	}
	weight = solution
	return c, c.Converge(ctx, p, req)
}

// CompareWith generates a request, and its images by another sampling without a policy,
// alternating, repeat times each after a warm-up, and compares time and images. OnImage and Skip of
// the request are not used.
//
// Samplers that start from different noise, as RNGTorch has it after the first batch, are refused.
func CompareWith(ctx context.Context, p *tokencache.Pipeline, req tokencache.Request,
	with tokencache.Sampling, repeat int) (*Comparison, error) {
	return CompareOn(ctx, p, p, req, with, repeat)
}

// CompareOn is CompareWith where the other sampling runs on another pipeline: the same model in
// another number format, which is the base of speed and images.
func CompareOn(ctx context.Context, base, p *tokencache.Pipeline, req tokencache.Request,
	with tokencache.Sampling, repeat int) (*Comparison, error) {
	if repeat < 1 {
		return nil, &tokencache.FieldError{Field: "Repeat", Value: repeat, Want: "1 or more"}
	}
	req.OnImage, req.Skip = nil, nil
	plain := req
	plain.Policy, plain.MinPSNR, plain.Reference, plain.Sampling = nil, 0, "", with.WithDefaults()
	if err := checkNoise(req, plain); err != nil {
		return nil, err
	}
	c := &Comparison{Load: busy.Load()}
	if err := warmUp(ctx, base, plain); err != nil {
		return nil, err
	}
	if p != base {
		if err := warmUp(ctx, p, plain); err != nil {
			return nil, err
		}
	}
	c.Images, c.Repeat = req.Images(), repeat
	c.Baseline = Baseline{Sampler: plain.Sampler, Steps: plain.Steps, Spacing: plain.Spacing}
	var uncached []float64
	var own, other stepWatch
	for range repeat {
		u, err := run(ctx, base, plain, &other)
		if err != nil {
			return nil, err
		}
		r, err := run(ctx, p, req, &own)
		if err != nil {
			return nil, err
		}
		uncached, c.Times = append(uncached, u.Stats.Seconds), append(c.Times, r.Stats.Seconds)
		c.Uncached, c.Cached, c.Cost = u.Images, r.Images, r.Stats.Cost
		c.UncachedFLOPs = u.Stats.FLOPs
	}
	c.WallSeconds, c.UncachedWallSeconds = median.Of(c.Times), median.Of(uncached)
	c.Seconds = 0
	c.Speedup = c.UncachedWallSeconds / c.WallSeconds
	timing := busy.Timing{
		Load:    c.Load,
		Runs:    [][]float64{c.Times, uncached},
		Speedup: c.Speedup,
		Ratio:   c.FLOPReduction(),
	}
	if p.DType() != base.DType() { // which saves time without saving FLOPs
		timing.Ratio = 0
	}
	c.Disturbed = timing.Signs()
	c.Steps, c.UncachedStep = own.costs(), other.middle()
	if t, ok := req.Policy.(*reuse.Trained); ok && t.Saw(req.Seed) {
		c.Note = fmt.Sprintf("the policy was made from images of seed %d, so that these are not unseen", req.Seed)
	}
	var err error
	c.PSNRUncached, err = Fidelity(c.Cached, c.Uncached)
	return c, err
}

// ForgetTime takes all that a clock said out of a comparison, so that what it counts can stand
// among what another machine measures.
func (c *Comparison) ForgetTime() {
	c.Untimed = true
	c.WallSeconds, c.UncachedWallSeconds, c.Speedup, c.Load = 0, 0, 0, 0
	c.Disturbed, c.Times, c.Repeat = nil, nil, 0
	for i := range c.Steps {
		c.Steps[i].Millis = 0
	}
	c.UncachedStep.Millis = 0
}

// Converge adds what a comparison says of the converged solution of its request, or why there is
// none.
func (c *Comparison) Converge(ctx context.Context, p *tokencache.Pipeline, req tokencache.Request) error {
	req.OnImage, req.Skip = nil, nil
	s, err := p.Converged(ctx, req)
	if stochastic := (*diffusion.StochasticError)(nil); errors.As(err, &stochastic) {
		c.NoSolution = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	if c.Solution, err = SolutionOf(s); err != nil {
		return err
	}
	if c.PSNRConverged, err = Fidelity(c.Cached, s.Images); err != nil {
		return err
	}
	c.Baseline.PSNRConverged, err = Fidelity(c.Uncached, s.Images)
	return err
}

// checkNoise reports requests that do not start from the same noise: PyTorch's generator goes on
// through the batches, so that what later ones start from depends on the sampler's own draws.
func checkNoise(req, other tokencache.Request) error {
	const defaultBatch = 4
	one := req.Images() <= cmp.Or(req.Batch, defaultBatch)
	if req.RNG != tokencache.RNGTorch || req.Noise != nil || one || req.Sampling.WithDefaults() == other.Sampling {
		return nil
	}
	want := fmt.Sprintf("%s, or images of one batch: another sampler starts later batches from other noise",
		tokencache.RNGOwn)
	return &tokencache.FieldError{Field: "RNG", Value: req.RNG, Want: want}
}

// warmUp runs one step of a few images, so that memory is there and the processor is awake.
func warmUp(ctx context.Context, p *tokencache.Pipeline, req tokencache.Request) error {
	req.Classes = req.Classes[:min(len(req.Classes), maxWarmup)]
	req.Conditions = req.Conditions[:min(len(req.Conditions), maxWarmup)]
	req.Noise, req.OnStep, req.OnState, req.OnPrediction = nil, nil, nil, nil
	req.Sampling = DDIM50(req.Sampling)
	req.Steps = 1
	_, err := p.Generate(ctx, req)
	return err
}

// Pace estimates how long an uncached image takes, in seconds, from a few steps of a few images,
// which are denoised together. evaluations of the network is what an image takes.
func Pace(ctx context.Context, p *tokencache.Pipeline, of *tokencache.Subjects, s tokencache.Sampling,
	evaluations int) (float64, error) {
	const images, steps = 4, 3
	req := tokencache.Request{Sampling: DDIM50(s), Batch: images}
	of.Show(&req, images, func(int) int { return 0 })
	if err := warmUp(ctx, p, req); err != nil {
		return 0, err
	}
	req.Steps = steps
	r, err := p.Generate(ctx, req)
	if err != nil {
		return 0, err
	}
	return r.Stats.Seconds * float64(evaluations) / (images * steps), nil
}

// run generates a request and watches its steps.
func run(ctx context.Context, p *tokencache.Pipeline, req tokencache.Request,
	w *stepWatch) (*tokencache.Result, error) {
	told := req.OnStep
	req.OnStep = func(p tokencache.Progress) {
		w.add(p)
		if told != nil {
			told(p)
		}
	}
	return p.Generate(ctx, req)
}

// Fidelity is how near images are to others.
func Fidelity(images, others []tokencache.Image) (*eval.Fidelity, error) {
	return eval.PixelFidelity(pixels(images), pixels(others))
}

func pixels(images []tokencache.Image) [][]uint8 {
	list := make([][]uint8, len(images))
	for i, m := range images {
		list[i] = m.Pixels
	}
	return list
}
