package tokencache

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/reuse"
)

// Comparison is a policy beside the uncached model on the same request, from the same noise.
type Comparison struct {
	WallSeconds         float64  `json:"wall_s"`          // of denoising: model, predictor, selection, gathers, guidance, sampler; median
	UncachedWallSeconds float64  `json:"uncached_wall_s"` // likewise without a policy
	Speedup             float64  `json:"speedup"`
	FLOPs               int64    `json:"flops"`
	UncachedFLOPs       int64    `json:"uncached_flops"`
	CacheBytes          int64    `json:"cache_bytes"`
	PSNR                *float64 `json:"psnr_db"` // mean over the images, pixels in [0,1]; nil if all are equal
	ISteps              int      `json:"i_steps"`
	PSteps              int      `json:"p_steps"`
	HalfSteps           int      `json:"half_steps,omitempty"` // of the P-steps
	Images              int      `json:"images"`
	Repeat              int      `json:"repeat"`

	Cached, Uncached []Image   `json:"-"`
	Times            []float64 `json:"-"` // of each run with the policy

	Steps        []StepCost `json:"-"` // what each step of a batch takes with the policy
	UncachedStep StepCost   `json:"-"` // and a step without it
}

// StepCost is what a denoising step of a batch takes.
type StepCost struct {
	Millis float64 `json:"ms"`
	FLOPs  int64   `json:"flops"`
}

// stepWatch measures the steps of the first batch of several runs.
type stepWatch struct {
	last          time.Time
	flops         int64       // of the run, before the step
	millis, taken [][]float64 // of each step, in each run
}

func (w *stepWatch) start() { w.last, w.flops = time.Now(), 0 }

func (w *stepWatch) see(p Progress) {
	if p.Done > 0 {
		return
	}
	if w.millis == nil {
		w.millis, w.taken = make([][]float64, p.Steps), make([][]float64, p.Steps)
	}
	now, i := time.Now(), p.Step-1
	w.millis[i] = append(w.millis[i], float64(now.Sub(w.last).Microseconds())/1000)
	w.taken[i] = append(w.taken[i], float64(p.FLOPs-w.flops))
	w.last, w.flops = now, p.FLOPs
}

// costs are the medians of each step.
func (w *stepWatch) costs() []StepCost {
	list := make([]StepCost, len(w.millis))
	for i := range list {
		list[i] = StepCost{median.Of(w.millis[i]), int64(median.Of(w.taken[i]))}
	}
	return list
}

// middle is the median of all steps.
func (w *stepWatch) middle() StepCost {
	return StepCost{median.Of(slices.Concat(w.millis...)), int64(median.Of(slices.Concat(w.taken...)))}
}

// Compare draws a request with its policy and without it, in turn, repeat times each after a warm-up of one batch, and compares time and images. OnImage and Skip of the
// request are not used.
func (p *Pipeline) Compare(ctx context.Context, req Request, repeat int) (*Comparison, error) {
	req.OnImage, req.Skip = nil, nil
	plain := req
	plain.Policy = reuse.None{}
	warm := plain
	warm.Classes = req.Classes[:min(len(req.Classes), cmp.Or(req.Batch, defaultBatch))]
	warm.Steps, warm.Noise, warm.OnStep, warm.Sampler = "1", nil, nil, "ddim"
	if _, err := p.Generate(ctx, warm); err != nil {
		return nil, err
	}
	c := &Comparison{Images: len(req.Classes), Repeat: repeat}
	var uncached []float64
	var with, without stepWatch
	for range repeat {
		for _, r := range []Request{plain, req} {
			watch := &with
			if _, none := r.Policy.(reuse.None); none {
				watch = &without
			}
			r.OnStep = func(p Progress) {
				watch.see(p)
				if req.OnStep != nil {
					req.OnStep(p)
				}
			}
			watch.start()
			result, err := p.Generate(ctx, r)
			if err != nil {
				return nil, err
			}
			s := result.Stats
			if watch == &without {
				uncached = append(uncached, s.DenoiseSeconds)
				c.UncachedFLOPs, c.Uncached = s.FLOPs, result.Images
			} else {
				c.Times = append(c.Times, s.DenoiseSeconds)
				c.FLOPs, c.Cached, c.CacheBytes, c.ISteps, c.PSteps, c.HalfSteps = s.FLOPs, result.Images, s.CacheBytes, s.ISteps, s.PSteps, s.HalfSteps
			}
		}
	}
	c.WallSeconds, c.UncachedWallSeconds = median.Of(c.Times), median.Of(uncached)
	c.Speedup = c.UncachedWallSeconds / c.WallSeconds
	c.Steps, c.UncachedStep = with.costs(), without.middle()
	sum, n := 0.0, 0
	for i := range c.Cached {
		if v := psnr(c.Cached[i].Pixels, c.Uncached[i].Pixels); !math.IsInf(v, 0) {
			sum, n = sum+v, n+1
		}
	}
	if n > 0 {
		mean := sum / float64(n)
		c.PSNR = &mean
	}
	return c, nil
}

// psnr is the peak signal-to-noise ratio of two pictures in dB.
func psnr(a, b []uint8) float64 {
	sum := 0.0
	for i := range a {
		d := (float64(a[i]) - float64(b[i])) / 255
		sum += d * d
	}
	return -10 * math.Log10(sum/float64(len(a)))
}
