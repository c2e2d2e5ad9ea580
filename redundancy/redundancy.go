package redundancy

import (
	"context"
	"errors"
	"fmt"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// Options says what to measure.
type Options struct {
	// Request is what to generate: classes, seed, sampler and guidance. Its policy, batch and
	// callbacks are ignored.
	Request tokencache.Request
	Policy  reuse.Policy // whose choice of tokens is recorded

	OnStage func(what string)         // a part of the work begins
	OnPart  func(done, total float64) // its progress
}

// WatchUncached generates images without a policy and watches.
func WatchUncached(ctx context.Context, p *tokencache.Pipeline, o Options) (*Watch, error) {
	req := o.request()
	plan, err := p.Plan(req.Sampling)
	if err != nil {
		return nil, err
	}
	w := newWatcher(req.Images(), guided(req))
	req.Policy, req.CacheMemory = w.policy(), 0
	req.Batch = batch(req.Images(), watchBytes(p.Shape(), plan.Steps()))
	o.stage("watching %s of %d uncached steps", count(req.Images()), plan.Steps())
	if _, err := p.Generate(ctx, req); err != nil {
		return nil, err
	}
	return w.finish(), nil
}

// batch returns how many images are watched together: what a memory of 256 MB allows.
func batch(images int, each int64) int {
	const maxBatch, memory = 8, 256 << 20
	return min(images, maxBatch, max(1, int(memory/max(each, 1))))
}

// guided reports whether a batch of a request has a second half.
func guided(req tokencache.Request) bool { return req.Guidance != 0 && req.Guidance != 1 }

// request is what is generated; the images are dropped.
func (o Options) request() tokencache.Request {
	req := o.Request
	req.OnImage = func(tokencache.Image) error { return nil }
	req.OnState, req.OnPrediction, req.Skip = nil, nil, nil
	req.OnStep = func(s tokencache.Progress) {
		if o.OnPart != nil {
			o.OnPart(float64(s.Images)*s.Share(), float64(s.Images))
		}
	}
	return req
}

func (o Options) stage(format string, args ...any) {
	if o.OnStage != nil {
		o.OnStage(fmt.Sprintf(format, args...))
	}
}

// RecordPolicy generates images with the policy and records what it computes.
func RecordPolicy(ctx context.Context, p *tokencache.Pipeline, o Options) (*Record, error) {
	r, _, err := record(ctx, p, o, nil)
	return r, err
}

// Frame is a step of a run: the predicted clean image of every image that is kept.
type Frame struct {
	Step   int
	Images []tokencache.Image
}

const (
	maxFrames        = 60 // of a model of pixels
	maxDecodedFrames = 20 // with an autoencoder, which takes long
	maxImages        = 4  // of a frame; with an autoencoder 1
)

// RecordFrames is RecordPolicy; it also returns the clean images that the model predicts at evenly
// spread steps.
func RecordFrames(ctx context.Context, p *tokencache.Pipeline, o Options) (*Record, []Frame, error) {
	req := o.request()
	plan, err := p.Plan(req.Sampling)
	if err != nil {
		return nil, nil, err
	}
	f := &film{plan: plan, levels: p.Levels(), images: min(maxImages, req.Images()), frame: make(map[int]int)}
	frames := maxFrames
	if height, _, _ := p.ImageSize(); height != p.Shape().LatentRows {
		frames, f.images = maxDecodedFrames, 1
	}
	f.steps = spread(plan.Steps(), frames)
	for i, p := range f.steps {
		f.frame[p] = i
		f.clean = append(f.clean, make([][]float32, f.images))
	}
	r, f, err := record(ctx, p, o, f)
	if err != nil {
		return nil, nil, err
	}
	decoded, err := f.decode(ctx, p, o)
	return r, decoded, err
}

func record(ctx context.Context, p *tokencache.Pipeline, o Options, f *film) (*Record, *film, error) {
	if o.Policy == nil {
		return nil, nil, errors.New("no policy to record")
	}
	req := o.request()
	keep := 0
	if f != nil {
		keep = f.images
		req.OnState, req.OnPrediction = f.state, f.prediction
	}
	r := newRecorder(o.Policy, req.Images(), keep, guided(req))
	req.Policy, req.Batch = r.policy(), min(req.Images(), 4)
	o.stage("recording %s with %s", count(req.Images()), o.Policy)
	if _, err := p.Generate(ctx, req); err != nil {
		return nil, nil, err
	}
	return r.finish(), f, nil
}

// film gathers the clean images that the model predicts.
type film struct {
	plan   reuse.Plan
	levels interface {
		PredictedX0(dst, x, out []float32, timestep float64)
	}
	images int
	steps  []int         // of the frames
	frame  map[int]int   // of each of these steps
	clean  [][][]float32 // of each frame and image: x_t, and then x_0
}

// state keeps x_t.
func (f *film) state(index, position int, x []float32) {
	if i, ok := f.frame[position]; ok && index < f.images {
		f.clean[i][index] = append([]float32(nil), x...)
	}
}

// prediction computes x_0 from the kept x_t and what was predicted of it.
func (f *film) prediction(index, position int, out []float32) {
	i, ok := f.frame[position]
	if !ok || index >= f.images {
		return
	}
	x := f.clean[i][index]
	f.levels.PredictedX0(x, x, out, f.plan.Timesteps[position])
}

// decode decodes all clean images.
func (f *film) decode(ctx context.Context, p *tokencache.Pipeline, o Options) ([]Frame, error) {
	o.stage("decoding the images of %d steps", len(f.steps))
	var frames []Frame
	for i, step := range f.steps {
		frame := Frame{Step: step}
		for _, x := range f.clean[i] {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			m, err := p.Decode(x)
			if err != nil {
				return nil, err
			}
			frame.Images = append(frame.Images, m)
		}
		frames = append(frames, frame)
		if o.OnPart != nil {
			o.OnPart(float64(i+1), float64(len(f.steps)))
		}
	}
	return frames, nil
}
