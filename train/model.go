package train

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/tensor"
)

// ModelOptions says what model NewModel makes. Zero values mean what their comments say.
type ModelOptions struct {
	Arch    dit.Arch // "": a DiT
	Width   int      // 0: 128
	Depth   int      // blocks; 0: 10
	Heads   int      // 0: one for each 32 of the width
	Patch   int      // side of a patch; 0: 2
	Decoder int      // blocks of an MDT's decoder; 0: see DecoderBlocks
	// FixedVariance leaves the variance of the reverse process unlearned.
	FixedVariance bool
	// Path and Prediction are of a SiT: "" are Linear and the velocity.
	Path       diffusion.Path
	Prediction diffusion.Prediction
	Seed       uint64
}

// ImageKind is the kind of images that a model generates.
type ImageKind struct{ Size, Channels, Classes int }

// DecoderBlocks returns the default number of blocks of the decoder of a model with depth blocks:
// that of the published models, 2 for MDTv1 and 4 for MDTv2, or less where the model is too small.
// MDTv2 has as many in-blocks as out-blocks, so an odd depth has an odd decoder. It is 0 for a DiT.
func DecoderBlocks(arch dit.Arch, depth int) int {
	switch {
	case arch == dit.ArchMDTv1:
		return min(2, depth)
	case arch == dit.ArchMDTv2 && depth < 8:
		return 2 - depth%2
	case arch == dit.ArchMDTv2:
		return 4 + depth%2
	}
	return 0
}

// NewModel returns a new model to train and its parameters.
func NewModel(o ModelOptions, k ImageKind) (*dit.Model, []*tensor.Param, error) {
	if k.Classes == 0 {
		return nil, nil, errors.New("the images have no classes")
	}
	arch, width, depth := cmp.Or(o.Arch, dit.ArchDiT), cmp.Or(o.Width, 128), cmp.Or(o.Depth, 10)
	c := dit.Config{
		Arch:        arch,
		InputSize:   k.Size,
		PatchSize:   cmp.Or(o.Patch, 2),
		InChannels:  k.Channels,
		Hidden:      width,
		Depth:       depth,
		DecodeLayer: cmp.Or(o.Decoder, DecoderBlocks(arch, depth)),
		Heads:       cmp.Or(o.Heads, max(1, width/32)),
		MLPHidden:   4 * width,
		NumClasses:  k.Classes,
		LearnSigma:  !o.FixedVariance && arch != dit.ArchSiT, // a SiT makes no use of it
	}
	if arch == dit.ArchSiT {
		c.Path = cmp.Or(o.Path, diffusion.LinearPath)
		c.Prediction = cmp.Or(o.Prediction, diffusion.PredictVelocity)
	}
	return dit.NewTrainable(c, NewInit(c, o.Seed), false)
}

// FlowStart returns a SiT to train that begins with the weights of the DiT w, and its parameters. Of
// the options it uses Path and Prediction. Both are told of time by the same embedding, so that the
// SiT's of 0 to 1 is one that the DiT has hardly seen: what carries over is all else.
func FlowStart(w *dit.Weights, o ModelOptions) (*dit.Model, []*tensor.Param, error) {
	if w.Arch != dit.ArchDiT {
		return nil, nil, fmt.Errorf("model %s: a flow begins as a DiT, and it is an %s", w.File.Path, w.Arch)
	}
	flow := *w
	flow.Arch = dit.ArchSiT
	flow.Path = cmp.Or(o.Path, diffusion.LinearPath)
	flow.Prediction = cmp.Or(o.Prediction, diffusion.PredictVelocity)
	return flow.Trainable()
}

// WarmStart returns an MDT to train that computes what the DiT w computes, and its parameters. Of
// the options it uses Arch, Decoder and Seed.
func WarmStart(w *dit.Weights, o ModelOptions) (*dit.Model, []*tensor.Param, error) {
	c := w.Config
	c.Arch, c.DecodeLayer = o.Arch, cmp.Or(o.Decoder, DecoderBlocks(o.Arch, c.Depth))
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	source, err := w.Extend(c, NewInit(c, o.Seed))
	if err != nil {
		return nil, nil, err
	}
	return dit.NewTrainable(c, source, true)
}
