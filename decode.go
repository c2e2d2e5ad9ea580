package tokencache

import (
	"fmt"

	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/tensor"
)

// pixels is the size of latents and of the images that become of them.
type pixels struct {
	latentChannels, side    int // of latents
	height, width, channels int // of images
}

// latentSize is the number of values of an image's latents.
func (p *Pipeline) latentSize() int {
	px := p.engine.pixels
	return px.latentChannels * px.side * px.side
}

// Decode turns latents, or the values of a model of pixels, [C, side, side], into an image, as Generate
// does with finished ones.
func (p *Pipeline) Decode(latents []float32) (Image, error) {
	if want := p.latentSize(); len(latents) != want {
		return Image{}, fmt.Errorf("decode %d values: want %d", len(latents), want)
	}
	pool := tensor.NewPool(p.Threads())
	defer pool.Close()
	return p.engine.decode(tensor.NewGraph(pool), latents)
}

// decode turns latents into pixels.
func (e *engine) decode(g *tensor.Graph, latents []float32) (Image, error) {
	px := e.pixels
	img := Image{Latents: append([]float32(nil), latents...), Height: px.height, Width: px.width, Channels: px.channels}
	values := img.Latents
	if e.decoder != nil {
		z := g.New(1, len(latents))
		copy(z.Data, latents)
		e.decoder.Spec().FromDiffusion(z.Data)
		x, err := e.decoder.Decode(g, z, px.side, px.side)
		if err != nil {
			return Image{}, err
		}
		values = x.Flat()
	}
	m, err := raster.FromSample(values, img.Channels, img.Height, img.Width)
	if err != nil {
		return Image{}, err
	}
	img.Pixels = m.Pix
	return img, nil
}
