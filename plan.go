package tokencache

import (
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// plan is a request that was checked, with what follows from it.
type plan struct {
	req        Request // with its defaults
	conditions []Condition
	null       Condition // of guidance's unconditional half
	sampler    diffusion.Sampler
	guidance   diffusion.Guidance
	steps      reuse.Plan
	policy     reuse.Policy
	whole      bool      // the policy needs whole batches
	shares     []float64 // of each step: the share of the tokens that is computed, as far as is known
	work       float64   // FLOPs of a unit, as far as is known
	samples    int       // of an image: 2 under guidance
	size       int       // of an image's latents
	todo       int       // images that are not skipped
	draws      int       // times that the request's sampler draws noise for an image, the first included
	cacheBytes int64     // of a unit of images
	bytes      int64     // of a unit of images: latents, activations and cache
	unit       int       // images of a unit: 1, or a whole batch
	window     int       // units in flight at most
}

// defaultBatch is the batch of RNGTorch and of policies that need whole batches.
const defaultBatch = 4

// batch is the number of images of a batch where batches matter.
func (pl *plan) batch() int {
	if pl.req.Batch == 0 {
		return defaultBatch
	}
	return pl.req.Batch
}

func (pl *plan) skips(i int) bool { return pl.req.Skip != nil && pl.req.Skip(i) }

// class returns the class that an image is conditioned on, or -1.
func (pl *plan) class(i int) int {
	if len(pl.req.Classes) == 0 {
		return -1
	}
	return pl.req.Classes[i]
}
