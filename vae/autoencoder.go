package vae

import (
	"errors"
	"fmt"
	"math"

	"github.com/tokencache/tokencache/tensor"
)

// Autoencoder is an autoencoder with its weights. It is immutable, and several Graphs may use it at
// once.
//
// Latents are in the autoencoder's scale. A diffusion model works on (latents - ShiftFactor) *
// ScaleFactor: callers convert between the two with Spec.FromDiffusion and Spec.ToDiffusion; Decode
// and Encode do not.
type Autoencoder interface {
	Spec() Spec

	// Decode converts latents, [samples, LatentChannels*h*w], channel after channel, to images,
	// [samples, ImageChannels*H*W], in g's memory, where H and W are h and w times Downscale.
	// Values slightly outside [-1,1] are not clipped. Samples are decoded one after another, so
	// that scratch memory does not grow with their number.
	//
	// It fails if the file held no decoder, or with g.Err() after cancellation.
	Decode(g *tensor.Graph, latents *tensor.Tensor, h, w int) (*tensor.Tensor, error)

	// Encode converts images, [samples, ImageChannels*height*width], to the distribution of their
	// latents, in g's memory. It fails if the size is not a multiple of Downscale, if the file held
	// no encoder, or with g.Err() after cancellation.
	Encode(g *tensor.Graph, images *tensor.Tensor, height, width int) (Posterior, error)
}

// Spec describes the inputs and outputs of an autoencoder.
type Spec struct {
	Name           string
	ImageChannels  int
	LatentChannels int
	Downscale      int // pixels of a latent, along a side
	ScaleFactor    float64
	ShiftFactor    float64
	Parameters     int64
	Narrow         int    // convolutions of the decoder that are not in float32
	Fingerprint    string // of the weights, whatever file they came in: see nn.Loader.Fingerprint
}

// FromDiffusion converts latents x from a diffusion model's scale to the autoencoder's, in place.
func (s Spec) FromDiffusion(x []float32) {
	scale, shift := float32(1/s.ScaleFactor), float32(s.ShiftFactor)
	for i, v := range x {
		x[i] = float32(v*scale) + shift
	}
}

// ToDiffusion is the inverse of FromDiffusion.
func (s Spec) ToDiffusion(x []float32) {
	scale, shift := float32(s.ScaleFactor), float32(s.ShiftFactor)
	for i, v := range x {
		x[i] = (v - shift) * scale
	}
}

// Posterior is the encoder's distribution of an image's latents: independent normal distributions
// of the elements.
type Posterior struct {
	Mean   *tensor.Tensor // [samples, LatentChannels*h*w]; also the mode
	LogVar *tensor.Tensor // natural logarithm of the variance; nil for a deterministic encoder
}

// Sample returns Mean + standard deviation * noise in g's memory. Noise is a standard normal number
// for each latent.
func (p Posterior) Sample(g *tensor.Graph, noise []float32) *tensor.Tensor {
	out := g.New(p.Mean.Rows, p.Mean.Cols)
	x := out.Flat()
	copy(x, p.Mean.Flat())
	if p.LogVar != nil {
		for i, v := range p.LogVar.Flat() {
			x[i] += float32(math.Exp(float64(v)/2)) * noise[i]
		}
	}
	return out
}

var (
	errNoDecoder = errors.New("the autoencoder has no decoder: its file holds the encoder alone")
	errNoEncoder = errors.New("the autoencoder has no encoder: its file holds the decoder alone")
)

// eachSample calls f with each sample of x, [samples, channels*height*width], as images, and
// releases the memory that f took.
func eachSample(g *tensor.Graph, x *tensor.Tensor, channels, height, width int,
	f func(sample int, x tensor.Images)) error {
	for s := range x.Rows {
		mark := g.Mark()
		pixels := g.Patchify(g.RowRange(x, s, s+1), channels, height, width, 1)
		f(s, tensor.Images{X: pixels, Height: height, Width: width})
		g.Release(mark)
		if err := g.Err(); err != nil {
			return err
		}
	}
	return nil
}

// setSample writes an image into row s of dst, channel after channel.
func setSample(g *tensor.Graph, dst *tensor.Tensor, s int, x tensor.Images) {
	copy(dst.Row(s), g.Unpatchify(x.X, x.X.Cols, x.Height, x.Width, 1).Flat())
}

// reserve takes and releases n floats at once, so that later, smaller requests share one slab of
// g's memory.
func reserve(g *tensor.Graph, n int) {
	mark := g.Mark()
	g.New(1, n)
	g.Release(mark)
}

// settle releases everything taken since mark except x, and returns x at its new place.
func settle(g *tensor.Graph, mark tensor.Mark, x tensor.Images) tensor.Images {
	data, rows, cols := x.X.Flat(), x.X.Rows, x.X.Cols
	g.Release(mark)
	x.X = g.New(rows, cols)
	copy(x.X.Data, data) // they may overlap
	return x
}

func checkSize(height, width, downscale int) error {
	if height < 1 || width < 1 || height%downscale != 0 || width%downscale != 0 {
		return fmt.Errorf("encode an image of %d x %d: want multiples of %d", height, width, downscale)
	}
	return nil
}
