package tokencache

import "fmt"

// Decode turns latents, or the values of a model of pixels, [C, side, side], into a picture, as Generate does with finished ones. It must not be called from within a Generate.
func (p *Pipeline) Decode(latents []float32) (Image, error) {
	c := p.model.Config
	if want := c.InChannels * c.InputSize * c.InputSize; len(latents) != want {
		return Image{}, fmt.Errorf("decode %d values: want %d (%d channels, %d x %d)", len(latents), want, c.InChannels, c.InputSize, c.InputSize)
	}
	defer p.graph.Reset()
	return p.decode(latents)
}
