package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/vae"
)

// decodeAndEncode computes what c recorded of an autoencoder: decoded of z or latent; mean and
// logvar, or latent, of image. Names may share a prefix, such as small. Where there is a latent,
// pictures are in [0,1], as the tiny autoencoders' own code has them, else in [-1,1].
func (r *run) decodeAndEncode(a vae.Autoencoder, c *recording) (map[string][]float32, error) {
	got := make(map[string][]float32)
	for _, name := range c.Names() {
		prefix, ok := strings.CutSuffix(name, "image")
		if !ok {
			continue
		}
		r.work("decoding and encoding, %s", strings.TrimSuffix(c.stem+"/"+prefix, "/"))
		unit := c.has(prefix + "latent")
		latents := prefix + "z"
		if !c.has(latents) {
			latents = prefix + "latent"
		}
		z, err := c.matrix(latents)
		if err != nil {
			return nil, err
		}
		shape, err := c.shape(latents, 4)
		if err != nil {
			return nil, err
		}
		if s := a.Spec(); shape[1] != s.LatentChannels {
			return nil, fmt.Errorf("tensor %s has %d channels, want %d", latents, shape[1], s.LatentChannels)
		}
		r.graph.Reset()
		decoded, err := a.Decode(r.graph, z, shape[2], shape[3])
		if err != nil {
			return nil, err
		}
		x := slices.Clone(decoded.Flat())
		if unit {
			scaleShift(x, 0.5, 0.5)
		}
		got[prefix+"decoded"] = x

		if err := r.encode(a, c, prefix, unit, got); err != nil {
			return nil, err
		}
	}
	return got, nil
}

func (r *run) encode(a vae.Autoencoder, c *recording, prefix string, unit bool, got map[string][]float32) error {
	image, err := c.matrix(prefix + "image")
	if err != nil {
		return err
	}
	shape, err := c.shape(prefix+"image", 4)
	if err != nil {
		return err
	}
	if s := a.Spec(); shape[1] != s.ImageChannels {
		return fmt.Errorf("tensor %simage has %d channels, want %d", prefix, shape[1], s.ImageChannels)
	}
	if unit {
		scaleShift(image.Data, 2, -1)
	}
	r.graph.Reset()
	p, err := a.Encode(r.graph, image, shape[2], shape[3])
	if err != nil {
		return err
	}
	mean := "mean"
	if unit {
		mean = "latent"
	}
	got[prefix+mean] = slices.Clone(p.Mean.Flat())
	if p.LogVar != nil {
		got[prefix+"logvar"] = slices.Clone(p.LogVar.Flat())
	}
	return nil
}

func scaleShift(x []float32, scale, shift float32) {
	for i, v := range x {
		x[i] = v*scale + shift
	}
}
