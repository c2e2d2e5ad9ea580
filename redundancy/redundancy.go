package redundancy

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// Options says what to look at.
type Options struct {
	// Request is what to draw: classes, seed, sampler and guidance. Policy, Batch and what it is
	// told are ignored.
	Request tokencache.Request
	Policy  reuse.Policy // whose choice of tokens is recorded

	OnStage func(what string)         // a part of the work begins
	OnPart  func(done, total float64) // it goes on
}

// WatchUncached draws images without a policy and watches.
func WatchUncached(ctx context.Context, p *tokencache.Pipeline, o Options) (*Watch, error) {
	req := o.request()
	plan, err := p.Plan(req.Sampling)
	if err != nil {
		return nil, err
	}
	w := newWatcher(len(req.Classes), guided(req))
	req.Policy, req.CacheMemory = w.policy(), 0
	req.Batch = batch(len(req.Classes), watchBytes(p.Config(), plan.Steps()))
	o.stage("watching %s of %d uncached steps", count(len(req.Classes)), plan.Steps())
	if _, err := p.Generate(ctx, req); err != nil {
		return nil, err
	}
	return w.finish(), nil
}

// batch returns how many images are watched together: what a memory of 256 MB allows.
func batch(images int, each int64) int {
	const most, memory = 8, 256 << 20
	return min(images, most, max(1, int(memory/max(each, 1))))
}

// guided reports whether a batch of a request has a second half.
func guided(req tokencache.Request) bool { return req.Guidance != 0 && req.Guidance != 1 }

// request is what is drawn; the pictures are dropped.
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

// RecordPolicy draws images with the policy and records what it computes.
func RecordPolicy(ctx context.Context, p *tokencache.Pipeline, o Options) (*Record, error) {
	r, _, err := record(ctx, p, o, nil)
	return r, err
}

// Frame is a step of a run as it can be seen: the predicted clean image of every image that is
// kept.
type Frame struct {
	Step     int
	Pictures []tokencache.Image
}

const (
	mostFrames        = 60 // of a model of pixels
	mostDecodedFrames = 20 // where an autoencoder makes the pictures, which takes long
	mostPictures      = 4  // of a frame; with an autoencoder 1
)

// RecordFrames is RecordPolicy; it also returns what the images look like on the way: the clean
// images that the model predicts, at evenly taken steps.
func RecordFrames(ctx context.Context, p *tokencache.Pipeline, o Options) (*Record, []Frame, error) {
	req := o.request()
	plan, err := p.Plan(req.Sampling)
	if err != nil {
		return nil, nil, err
	}
	c := p.Config()
	f := &film{plan: plan, size: c.InChannels * c.InputSize * c.InputSize, pictures: min(mostPictures, len(req.Classes)), frame: make(map[int]int)}
	most := mostFrames
	if height, _, _ := p.ImageSize(); height != c.InputSize {
		most, f.pictures = mostDecodedFrames, 1
	}
	f.steps = spread(plan.Steps(), most)
	for i, p := range f.steps {
		f.frame[p] = i
		f.clean = append(f.clean, make([][]float32, f.pictures))
	}
	r, f, err := record(ctx, p, o, f)
	if err != nil {
		return nil, nil, err
	}
	frames, err := f.decode(ctx, p, o)
	return r, frames, err
}

func record(ctx context.Context, p *tokencache.Pipeline, o Options, f *film) (*Record, *film, error) {
	if o.Policy == nil {
		return nil, nil, errors.New("no policy to record")
	}
	req := o.request()
	keep := 0
	if f != nil {
		keep = f.pictures
		req.OnState, req.OnPrediction = f.state, f.prediction
	}
	r := newRecorder(o.Policy, len(req.Classes), keep, guided(req))
	req.Policy, req.Batch = r.policy(), min(len(req.Classes), 4)
	o.stage("recording %s with %s", count(len(req.Classes)), o.Policy)
	if _, err := p.Generate(ctx, req); err != nil {
		return nil, nil, err
	}
	return r.finish(), f, nil
}

// film gathers the clean images that the model predicts.
type film struct {
	plan     reuse.Plan
	size     int
	pictures int
	steps    []int         // of the frames
	frame    map[int]int   // of each of these steps
	clean    [][][]float32 // of each frame and picture: x_t, and then x_0
}

// state keeps x_t.
func (f *film) state(index, position int, x []float32) {
	if i, ok := f.frame[position]; ok && index < f.pictures {
		f.clean[i][index] = append([]float32(nil), x...)
	}
}

// prediction makes x_0 of the kept x_t and the predicted noise eps: x_0 = x_t/sqrt(alpha-bar) -
// sigma·eps, where 1/alpha-bar = 1 + sigma².
func (f *film) prediction(index, position int, out []float32) {
	i, ok := f.frame[position]
	if !ok || index >= f.pictures {
		return
	}
	sigma := f.plan.Sigma[position]
	scale := math.Sqrt(1 + sigma*sigma)
	x := f.clean[i][index]
	for j := range x {
		x[j] = float32(scale*float64(x[j]) - sigma*float64(out[j]))
	}
}

// decode makes pictures of all.
func (f *film) decode(ctx context.Context, p *tokencache.Pipeline, o Options) ([]Frame, error) {
	o.stage("making pictures of %d steps", len(f.steps))
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
			frame.Pictures = append(frame.Pictures, m)
		}
		frames = append(frames, frame)
		if o.OnPart != nil {
			o.OnPart(float64(i+1), float64(len(f.steps)))
		}
	}
	return frames, nil
}
