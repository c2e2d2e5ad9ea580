package tokencache

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/tokencache/tokencache/tensor"
)

// Generate generates the images of a request. It may be called from any number of goroutines: the
// requests share the pipeline's threads, and no image depends on what else runs.
//
// When ctx is done it returns ctx's error within one denoising step, with the images finished until
// then. Other errors are FieldError, LimitError, OverloadedError, NotFiniteError, PanicError,
// ErrClosed, and what a policy says if it does not fit.
func (p *Pipeline) Generate(ctx context.Context, req Request) (*Result, error) {
	pl, err := p.plan(req)
	if err != nil {
		return nil, err
	}
	return p.generate(ctx, pl)
}

// generate generates the images of a request that was checked.
func (p *Pipeline) generate(ctx context.Context, pl *plan) (*Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	j := newJob(ctx, pl, p.net.Shape().Tokens)
	if err := p.engine.submit(j); err != nil {
		return nil, err
	}
	return p.engine.await(j)
}

// Images generates the images of a request and yields each as soon as it is finished. Breaking off
// the loop cancels the request. OnImage of the request is not used.
func (p *Pipeline) Images(ctx context.Context, req Request) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stopped := false
		req.OnImage = func(img Image) error {
			if stopped = !yield(img, nil); stopped {
				cancel()
				return context.Canceled
			}
			return nil
		}
		if _, err := p.Generate(ctx, req); err != nil && !stopped {
			yield(Image{}, err)
		}
	}
}

// await hands a request's images over until nothing more will come.
func (e *engine) await(j *job) (*Result, error) {
	var images []Image
	stop := context.AfterFunc(j.ctx, func() { e.cancel(j, j.ctx.Err()) })
	defer stop()
	for {
		e.mu.Lock()
		ready, complete := j.undelivered, j.complete()
		j.undelivered = nil
		j.delivered += len(ready)
		if len(ready) > 0 {
			e.admit()
		}
		e.mu.Unlock()
		for _, img := range ready {
			if j.req.OnImage == nil {
				images = append(images, img)
			} else if err := j.req.OnImage(img); err != nil {
				e.cancel(j, err)
				break // the images that follow are not wanted any more
			}
		}
		if complete {
			e.mu.Lock()
			defer e.mu.Unlock()
			r := j.result(e.threads, e.level, e.dtype)
			byIndex(images)
			r.Images = images
			return r, j.err
		}
		<-j.wake
	}
}

// byIndex sorts images as the request has them.
func byIndex(images []Image) {
	slices.SortFunc(images, func(a, b Image) int { return cmp.Compare(a.Index, b.Index) })
}

// Decode turns latents, or the values of a model of pixels, [C, side, side], into an image, as
// Generate does with finished ones.
func (p *Pipeline) Decode(latents []float32) (Image, error) {
	if want := p.latentSize(); len(latents) != want {
		return Image{}, fmt.Errorf("decode %d values: want %d", len(latents), want)
	}
	pool := tensor.NewPool(p.Threads())
	defer pool.Close()
	return p.engine.decode(tensor.NewGraph(pool), latents)
}
