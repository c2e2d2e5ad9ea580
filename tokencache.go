// Package tokencache generates images with diffusion transformers (DiT, MDT) on CPUs, in pure Go.
//
// Open reads a model, in any of the formats that its authors or diffusers published it in, and Pipeline.Generate
// draws images with it:
//
//	p, err := tokencache.Open("DiT-XL-2-256x256.pt", tokencache.Options{VAE: "sd-vae-ft-ema"})
//	...
//	defer p.Close()
//	r, err := p.Generate(ctx, tokencache.Request{Classes: []int{207, 360}, Seed: 1, Steps: "250", Sampler: "ddpm", Guidance: 4})
//
// The same request gives the same images, bit for bit, on machines of the same CPU level, whatever the number of threads.
//
// This package composes inference only; training, evaluation and the program are in packages of their own.
package tokencache

import (
	"context"
	"fmt"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/internal/imagenet"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/vae"
)

// Options says how to open a model.
type Options struct {
	// VAE is the path of the autoencoder that turns the model's latents into pixels. A diffusers pipeline brings its own; a model that
	// makes pixels of 1 or 3 channels needs none.
	VAE string

	Threads   int    // workers; 0 means as many as there are processors
	Key       string // which of several sets of weights to take; "" prefers an average: see checkpoint.OpenOptions
	Heads     int    // attention heads, where neither the width nor a config.json tells
	InputSize int    // side of the latents, where the checkpoint does not tell

	// DecodeLayer is the number of an MDTv1's blocks that are its decoder, which its checkpoints do not tell; 0 means what config.json says, else
	// 2, as in the published model.
	DecodeLayer int
}

// Pipeline is an opened model, ready to draw. It serves one Generate at a time.
type Pipeline struct {
	model   *dit.Model
	decoder vae.Autoencoder // nil if the model makes pixels
	pool    *tensor.Pool
	graph   *tensor.Graph

	lanes map[int][]*tensor.Graph // so many, for batches whose images the processors share: see denoise.go
	pools []*tensor.Pool          // of lanes

	names   []string
	assumed string
}

// Open reads the model at path: a checkpoint, a folder with one, or a diffusers pipeline.
func Open(path string, o Options) (*Pipeline, error) {
	return OpenContext(context.Background(), path, o)
}

// OpenContext is Open. When ctx ends, it fails soon.
func OpenContext(ctx context.Context, path string, o Options) (*Pipeline, error) {
	w, err := dit.OpenContext(ctx, path, dit.Options{
		Key:         o.Key,
		Heads:       o.Heads,
		InputSize:   o.InputSize,
		DecodeLayer: o.DecodeLayer,
	})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	return fromWeights(ctx, w, o)
}

// FromWeights reads the model of a checkpoint that is open already, such as one embedded in a program: see package models.
func FromWeights(w *dit.Weights, o Options) (*Pipeline, error) {
	return fromWeights(context.Background(), w, o)
}

func fromWeights(ctx context.Context, w *dit.Weights, o Options) (*Pipeline, error) {
	if o.Threads < 0 {
		return nil, fmt.Errorf("%d threads: want 1 or more, or 0 for all processors", o.Threads)
	}
	var err error
	p := &Pipeline{names: w.ClassNames, assumed: w.Assumed}
	decoder := o.VAE
	if decoder == "" {
		decoder = w.VAE
	}
	if decoder != "" {
		if p.decoder, err = vae.OpenContext(ctx, decoder); err != nil {
			return nil, err
		}
	}
	if err := checkDecoder(w.Config, p.decoder); err != nil {
		return nil, err
	}
	if p.model, err = w.Load(); err != nil {
		return nil, err
	}
	if p.names == nil && w.NumClasses == imagenet.Count {
		p.names = imagenet.Names()
	}
	p.pool = tensor.NewPool(o.Threads)
	p.graph = tensor.NewGraph(p.pool)
	return p, nil
}

// checkDecoder reports an autoencoder that does not fit the model, or is missing.
func checkDecoder(c dit.Config, decoder vae.Autoencoder) error {
	if decoder == nil {
		if c.InChannels != 1 && c.InChannels != 3 {
			return fmt.Errorf("the model makes latents of %d channels, which only an autoencoder turns into pixels: give its path (--vae)", c.InChannels)
		}
		return nil
	}
	if s := decoder.Spec(); s.LatentChannels != c.InChannels {
		return fmt.Errorf("the autoencoder %s takes latents of %d channels, but the model makes %d", s.Name, s.LatentChannels, c.InChannels)
	}
	return nil
}

// Close ends the pipeline's workers.
func (p *Pipeline) Close() {
	for _, pool := range append(p.pools, p.pool) {
		pool.Close()
	}
}

// Config returns the size of the model.
func (p *Pipeline) Config() dit.Config { return p.model.Config }

// ClassNames returns the names of the model's classes, or nil if they have none.
func (p *Pipeline) ClassNames() []string { return p.names }

// SelectClasses turns what a user typed (numbers, names, lists, ranges) into classes of the model.
func (p *Pipeline) SelectClasses(selections []string) ([]int, error) {
	return classes.Select(selections, p.model.NumClasses, p.names)
}

// Assumed says what was taken for granted of the model because neither its checkpoint nor Options told it, for people to read, or "".
func (p *Pipeline) Assumed() string { return p.assumed }

// OfficialGuidance returns the scale of guidance that the model's own code draws with, and its power: see Request. A model
// without a null class has none: 1.
func (p *Pipeline) OfficialGuidance() (scale, power float64) {
	if p.model.NoNullClass {
		return 1, 0
	}
	if p.model.Arch == dit.ArchDiT {
		return 4, 0
	}
	return 3.8, 4
}

// Fingerprint identifies the model's weights: equal weights have equal fingerprints, in whatever file they were.
func (p *Pipeline) Fingerprint() string { return p.model.Fingerprint }

// Threads returns the number of workers.
func (p *Pipeline) Threads() int { return p.pool.Workers() }

// Level returns the name of the CPU level in use: generic, avx2 or avx512.
func (p *Pipeline) Level() string { return kernel.ActiveLevel().String() }

// ImageSize returns the size of the images drawn, in pixels, and their channels: 1 is grey, 3 is RGB.
func (p *Pipeline) ImageSize() (height, width, channels int) {
	side, channels := p.model.InputSize, p.model.InChannels
	if p.decoder != nil {
		s := p.decoder.Spec()
		side, channels = side*s.Downscale, s.ImageChannels
	}
	return side, side, channels
}
