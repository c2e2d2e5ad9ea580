package vae

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// KLConfig is the size of an AutoencoderKL.
type KLConfig struct {
	ImageChannels  int
	LatentChannels int
	Widths         []int // channels of each level, highest resolution first
	Blocks         int   // of each level of the encoder; the decoder's have one more
	Groups         int   // of the group norms
	Attention      bool  // at the lowest resolution
	Quant          bool  // a 1x1 convolution after the encoder
	PostQuant      bool  // a 1x1 convolution before the decoder
	ScaleFactor    float64
	ShiftFactor    float64
}

const (
	klEps         = 1e-6
	klGroups      = 32
	sdScaleFactor = 0.18215
	maxLevels     = 16
)

// StableDiffusion is the autoencoder of Stable Diffusion 1 and 2, which DiT uses.
func StableDiffusion() KLConfig {
	return KLConfig{
		ImageChannels: 3, LatentChannels: 4, Widths: []int{128, 256, 512, 512}, Blocks: 2, Groups: klGroups,
		Attention: true, Quant: true, PostQuant: true, ScaleFactor: sdScaleFactor,
	}
}

// downscale returns the pixels of a latent, along a side.
func (c KLConfig) downscale() int { return 1 << (len(c.Widths) - 1) }

// Validate returns an error for sizes that no autoencoder can have.
func (c KLConfig) Validate() error {
	var errs []error
	if n := len(c.Widths); n < 1 || n > maxLevels {
		errs = append(errs, fmt.Errorf("%d levels, want 1 to %d", n, maxLevels))
	}
	if c.ImageChannels < 1 || c.LatentChannels < 1 || c.Blocks < 1 || c.Groups < 1 {
		errs = append(errs, fmt.Errorf("%d image channels, %d latent channels, %d blocks, %d groups: want "+
			"at least 1 of each",
			c.ImageChannels, c.LatentChannels, c.Blocks, c.Groups))
		return errors.Join(errs...)
	}
	for i, w := range c.Widths {
		if w < 1 || w%c.Groups != 0 {
			errs = append(errs, fmt.Errorf("level %d: %d channels do not divide into %d groups: "+
				"norm_num_groups in config.json says how many there are", i, w, c.Groups))
		}
	}
	errs = append(errs, checkFactors(c.ScaleFactor, c.ShiftFactor))
	return errors.Join(errs...)
}

// checkFactors reports a scale that is not positive, and factors with which latents would leave the
// range of float32.
func checkFactors(scale, shift float64) error {
	const most = 1e6
	if !(scale >= 1/most && scale <= most) {
		return fmt.Errorf("scaling_factor is %g, want %g to %g", scale, 1/most, most)
	}
	if !(math.Abs(shift) <= most) {
		return fmt.Errorf("shift_factor is %g, want %g to %g", shift, -most, most)
	}
	return nil
}

// Tensors lists the weights by their canonical names, those of diffusers.
func (c KLConfig) Tensors() []checkpoint.Want {
	var b builder
	c.build(&b)
	return b.wants
}

// NewKL reads an autoencoder of the given size from src, under the canonical names: see
// KLConfig.Tensors.
func NewKL(c KLConfig, src nn.Source) (*KL, error) { return NewKLAs(tensor.F32, c, src) }

// NewKLAs is NewKL with the decoder in a number format: see OpenAs.
func NewKLAs(d tensor.DType, c KLConfig, src nn.Source) (*KL, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	b := builder{loader: nn.NewLoader(src), dtype: d}
	m := c.build(&b)
	m.narrow = b.narrow
	m.fingerprint = b.loader.Fingerprint()
	return m, b.loader.Err()
}

func (c KLConfig) build(b *builder) *KL {
	m := &KL{KLConfig: c, encoder: c.buildEncoder(b), decoder: c.buildDecoder(b)}
	m.parameters = b.parameters()
	return m
}

func (c KLConfig) buildEncoder(b *builder) *klEncoder {
	const p = "encoder."
	moments := 2 * c.LatentChannels
	last := len(c.Widths) - 1
	e := &klEncoder{convIn: b.conv(p+"conv_in", c.Widths[0], c.ImageChannels, tensor.Conv3x3Same)}
	in := c.Widths[0]
	for i, width := range c.Widths {
		level := fmt.Sprintf("%sdown_blocks.%d.", p, i)
		l := c.buildLevel(b, level, c.Blocks, width, in)
		if i < last {
			// The original pads below and to the right only.
			l.resize = b.conv(level+"downsamplers.0.conv", width, width, tensor.Conv3x3Geometry{Stride: 2, After: 1})
		}
		e.levels = append(e.levels, l)
		in = width
	}
	e.mid = c.buildMiddle(b, p, in)
	e.normOut = b.groupNorm(p+"conv_norm_out", in, c.Groups, klEps)
	e.convOut = b.conv(p+"conv_out", moments, in, tensor.Conv3x3Same)
	if c.Quant {
		e.quant = b.pointwise("quant_conv", moments, moments)
	}
	return e
}

func (c KLConfig) buildDecoder(b *builder) *klDecoder {
	const p = "decoder."
	b.decodes(true)
	defer b.decodes(false)
	last := len(c.Widths) - 1
	d := new(klDecoder)
	if c.PostQuant {
		d.postQuant = b.pointwise("post_quant_conv", c.LatentChannels, c.LatentChannels)
	}
	in := c.Widths[last]
	d.convIn = b.conv(p+"conv_in", in, c.LatentChannels, tensor.Conv3x3Same)
	d.mid = c.buildMiddle(b, p, in)
	for i, width := range slices.Backward(c.Widths) {
		level := fmt.Sprintf("%sup_blocks.%d.", p, last-i)
		l := c.buildLevel(b, level, c.Blocks+1, width, in)
		if i > 0 {
			l.resize = b.inner(level+"upsamplers.0.conv", width, width, tensor.Conv3x3Double)
		}
		d.levels = append(d.levels, l)
		in = width
	}
	d.normOut = b.groupNorm(p+"conv_norm_out", in, c.Groups, klEps)
	d.convOut = b.conv(p+"conv_out", c.ImageChannels, in, tensor.Conv3x3Same)
	return d
}

func (c KLConfig) buildLevel(b *builder, level string, blocks, out, in int) klLevel {
	var l klLevel
	for i := range blocks {
		l.blocks = append(l.blocks, c.buildResnet(b, fmt.Sprintf("%sresnets.%d.", level, i), out, in))
		in = out
	}
	return l
}

func (c KLConfig) buildMiddle(b *builder, p string, width int) klMiddle {
	p += "mid_block."
	m := klMiddle{
		before: c.buildResnet(b, p+"resnets.0.", width, width),
		after:  c.buildResnet(b, p+"resnets.1.", width, width),
	}
	if c.Attention {
		p += "attentions.0."
		m.attn = &pixelAttention{
			norm:       b.groupNorm(p+"group_norm", width, c.Groups, klEps),
			q:          b.pointwise(p+"to_q", width, width),
			k:          b.pointwise(p+"to_k", width, width),
			v:          b.pointwise(p+"to_v", width, width),
			projection: b.pointwise(p+"to_out.0", width, width),
		}
	}
	return m
}

func (c KLConfig) buildResnet(b *builder, p string, out, in int) *resnet {
	r := &resnet{
		norm1: b.groupNorm(p+"norm1", in, c.Groups, klEps),
		conv1: b.inner(p+"conv1", out, in, tensor.Conv3x3Same),
		norm2: b.groupNorm(p+"norm2", out, c.Groups, klEps),
		conv2: b.inner(p+"conv2", out, out, tensor.Conv3x3Same),
	}
	if in != out {
		r.shortcut = b.pointwise(p+"conv_shortcut", out, in)
	}
	return r
}
