// Package measure times a policy against the uncached model: the same images from the same noise,
// runs of both alternating. It may use the library and evaluation; it writes and prints nothing.
package measure

import (
	"context"
	"math"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/reuse"
)

// Comparison is a policy against the uncached model on the same request.
type Comparison struct {
	// Cost is that of one run with the policy, without Seconds: WallSeconds is the median of all
	// runs.
	reuse.Cost
	// WallSeconds is the time of denoising: model, predictor, selection, gathers, guidance,
	// sampler.
	WallSeconds         float64  `json:"wall_s"`
	UncachedWallSeconds float64  `json:"uncached_wall_s"` // likewise without a policy
	Speedup             float64  `json:"speedup"`
	PSNR                *float64 `json:"psnr_db"` // mean over the images, pixels in [0,1]; nil if all are equal
	Images              int      `json:"images"`
	Repeat              int      `json:"repeat"`

	Cached, Uncached []tokencache.Image `json:"-"`
	Times            []float64          `json:"-"` // of each run with the policy

	Steps        []StepCost `json:"-"` // of each step of an image with the policy
	UncachedStep StepCost   `json:"-"` // of a step without it
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

// Compare generates a request with its policy and without it, alternating, repeat times each after
// a warm-up, and compares time and images. OnImage and Skip of the request are not used.
func Compare(ctx context.Context, p *tokencache.Pipeline, req tokencache.Request, repeat int) (*Comparison, error) {
	if repeat < 1 {
		return nil, &tokencache.FieldError{Field: "Repeat", Value: repeat, Want: "1 or more"}
	}
	if req.Policy == nil {
		const want = "a policy to compare with the uncached model"
		return nil, &tokencache.FieldError{Field: "Policy", Value: "none", Want: want}
	}
	req.OnImage, req.Skip = nil, nil
	plain := req
	plain.Policy = nil
	if err := warmUp(ctx, p, plain); err != nil {
		return nil, err
	}
	c := &Comparison{Images: len(req.Classes), Repeat: repeat}
	var uncached []float64
	var with, without stepWatch
	for range repeat {
		s, err := run(ctx, p, plain, &without)
		if err != nil {
			return nil, err
		}
		uncached, c.Uncached = append(uncached, s.Stats.Seconds), s.Images
		if s, err = run(ctx, p, req, &with); err != nil {
			return nil, err
		}
		c.Times, c.Cached, c.Cost = append(c.Times, s.Stats.Seconds), s.Images, s.Stats.Cost
	}
	c.WallSeconds, c.UncachedWallSeconds = median.Of(c.Times), median.Of(uncached)
	c.Seconds = 0
	c.Speedup = c.UncachedWallSeconds / c.WallSeconds
	c.Steps, c.UncachedStep = with.costs(), without.middle()
	c.PSNR = meanPSNR(c.Cached, c.Uncached)
	return c, nil
}

// warmUp runs one step of a few images, so that memory is there and the processor is awake.
func warmUp(ctx context.Context, p *tokencache.Pipeline, req tokencache.Request) error {
	req.Classes = req.Classes[:min(len(req.Classes), maxWarmup)]
	req.Noise, req.OnStep, req.OnState, req.OnPrediction = nil, nil, nil, nil
	req.Sampling.Sampler, req.Sampling.Steps, req.Sampling.Spacing, req.Sampling.Eta = "ddim", 1, "", 0
	_, err := p.Generate(ctx, req)
	return err
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

// meanPSNR is the mean PSNR of images to others, in dB, of those that differ; nil if none does.
func meanPSNR(a, b []tokencache.Image) *float64 {
	sum, n := 0.0, 0
	for i := range a {
		if v, err := eval.PSNRPixels(a[i].Pixels, b[i].Pixels); err == nil && !math.IsInf(v, 0) {
			sum, n = sum+v, n+1
		}
	}
	if n == 0 {
		return nil
	}
	mean := sum / float64(n)
	return &mean
}
