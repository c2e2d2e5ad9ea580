package vae

import (
	"errors"
	"fmt"
	"math"

	"github.com/tokencache/tokencache/tensor"
)

// Autoencoder is one of the package's autoencoders with its weights. Running it does not change it, and it may serve several Graphs
// at once.
//
// Latents are the autoencoder's own. A diffusion model works on (latents - ShiftFactor) * ScaleFactor: Decode and Encode do not
// convert, whoever joins the two does, with Spec.FromDiffusion and Spec.ToDiffusion.
type Autoencoder interface {
	Spec() Spec

	// Decode turns latents, [samples, LatentChannels*h*w], channel after channel, into pictures, [samples, ImageChannels*H*W], in g's memory,
	// where H and W are h and w times Downscale. Values lie in [-1,1] but for small excesses, which are not clipped. Samples are
	// decoded one after another, so that memory does not grow with their number.
	//
	// It fails if the file held no decoder, or with g.Err() after cancellation.
	Decode(g *tensor.Graph, latents *tensor.Tensor, h, w int) (*tensor.Tensor, error)

	// Encode turns pictures, [samples, ImageChannels*height*width], into the distribution of their latents, in g's memory. It fails if the
	// size is not a multiple of Downscale, if the file held no encoder, or with g.Err() after cancellation.
	Encode(g *tensor.Graph, images *tensor.Tensor, height, width int) (Posterior, error)
}

// Spec is what there is to know about an autoencoder from outside.
type Spec struct {
	Name           string
	ImageChannels  int
	LatentChannels int
	Downscale      int // pixels, along a side, that a latent stands for
	ScaleFactor    float64
	ShiftFactor    float64
	Parameters     int64
	Fingerprint    string // of the weights, whatever file they came in: see nn.Loader.Fingerprint
}

// FromDiffusion turns latents x as a diffusion model works on them into the autoencoder's, in place.
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

// Posterior is the normal distribution that an encoder finds of a picture's latents: each element has a mean and a variance of its own.
type Posterior struct {
	Mean   *tensor.Tensor // [samples, LatentChannels*h*w]: the mode, too
	LogVar *tensor.Tensor // the variance's natural logarithm, or nil if the encoder gives latents for certain
}

// Sample returns a draw from the distribution, made of noise, as many standard normal numbers as there are latents, in g's
// memory.
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

// eachSample calls f with the samples of x, [samples, channels*height*width], one at a time, as images; what f takes of g's memory is free
// again afterwards.
func eachSample(g *tensor.Graph, x *tensor.Tensor, channels, height, width int, f func(sample int, x tensor.Images)) error {
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

// reserve makes g's memory one piece where n floats are needed in turn, since it does not join pieces.
func reserve(g *tensor.Graph, n int) {
	mark := g.Mark()
	g.New(1, n)
	g.Release(mark)
}

// settle frees all that was taken since mark but x, and returns x at its new place.
func settle(g *tensor.Graph, mark tensor.Mark, x tensor.Images) tensor.Images {
	data, rows, cols := x.X.Flat(), x.X.Rows, x.X.Cols
	g.Release(mark)
	x.X = g.New(rows, cols)
	copy(x.X.Data, data) // they may overlap
	return x
}

func checkSize(height, width, downscale int) error {
	if height < 1 || width < 1 || height%downscale != 0 || width%downscale != 0 {
		return fmt.Errorf("encode a picture of %d x %d: want multiples of %d", height, width, downscale)
	}
	return nil
}
