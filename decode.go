package tokencache

import (
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/tensor"
)

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
