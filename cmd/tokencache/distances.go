package main

import (
	"context"
	"os"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/models"
)

// fewForDistance is the number of images below which a Fréchet distance says nothing.
const fewForDistance = 32

// distances returns what measures the Fréchet distance of a number of images from real ones, and
// how much larger it is than that of others of the same noise. It is nil where it would say
// nothing: of few images, of images that the bundled classifier does not evaluate, and without real
// images.
func (a *app) distances(p *tokencache.Pipeline, images int, seed uint64) (
	func(ctx context.Context, images, others []tokencache.Image) (distance, ratio *eval.Estimate, err error), error,
) {
	if images < fewForDistance {
		return nil, nil
	}
	r, fits, err := a.classifierOf(p)
	if err != nil || !fits {
		return nil, err
	}
	if _, err := os.Stat(comparison.FashionMNIST); err != nil || r.Name != models.Default {
		return nil, nil
	}
	return func(ctx context.Context, images, others []tokencache.Image) (distance, ratio *eval.Estimate, err error) {
		if r.Gaussian == nil {
			if err := r.Open(ctx, comparison.FashionMNIST, len(images), p.Threads(), seed); err != nil {
				a.note("no Fréchet distance: %v", err)
				return nil, nil, ctx.Err()
			}
		}
		return r.Compare(ctx, images, others, p.Threads(), seed)
	}, nil
}
