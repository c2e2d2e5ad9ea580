package vae

import (
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// builder makes the layers of an autoencoder under canonical names. Without a loader it only lists
// their tensors and the layers are nil: one walk through the architecture serves both.
type builder struct {
	loader *nn.Loader
	wants  []checkpoint.Want
	dtype  tensor.DType // of the decoder's inner convolutions
	narrow int          // convolutions that are not of float32
}

// decodes tells the loader whether what follows is of the decoder, whose inner convolutions are in
// the builder's number format. Encoders are in float32: what they make is learned from.
func (b *builder) decodes(yes bool) {
	switch {
	case b.loader == nil:
	case yes:
		b.loader.SetDType(b.dtype)
	default:
		b.loader.SetDType(tensor.F32)
	}
}

func (b *builder) want(name string, shape ...int) {
	b.wants = append(b.wants, checkpoint.Want{Name: name, Shape: shape})
}

// conv makes a 3x3 convolution.
func (b *builder) conv(name string, out, in int, s tensor.Conv3x3Geometry) *tensor.Conv3x3Weight {
	b.want(name+".weight", out, in, 3, 3)
	b.want(name+".bias", out)
	if b.loader == nil {
		return nil
	}
	return b.loader.Conv3x3(name, out, in, s)
}

// inner makes a 3x3 convolution between the first and the last, which are nearly all of the work
// and may be in another number format than float32.
func (b *builder) inner(name string, out, in int, s tensor.Conv3x3Geometry) *tensor.Conv3x3Weight {
	b.want(name+".weight", out, in, 3, 3)
	b.want(name+".bias", out)
	if b.loader == nil {
		return nil
	}
	return b.count(b.loader.InnerConv3x3(name, out, in, s))
}

// count counts a convolution that is not of float32.
func (b *builder) count(w *tensor.Conv3x3Weight) *tensor.Conv3x3Weight {
	if w.DType() != tensor.F32 {
		b.narrow++
	}
	return w
}

// convNoBias makes an inner 3x3 convolution without a bias.
func (b *builder) convNoBias(name string, out, in int, s tensor.Conv3x3Geometry) *tensor.Conv3x3Weight {
	b.want(name+".weight", out, in, 3, 3)
	if b.loader == nil {
		return nil
	}
	return b.count(b.loader.InnerConv3x3NoBias(name, out, in, s))
}

// pointwise makes a 1x1 convolution.
func (b *builder) pointwise(name string, out, in int) *tensor.Weight {
	b.want(name+".weight", out, in, 1, 1)
	b.want(name+".bias", out)
	if b.loader == nil {
		return nil
	}
	return b.loader.Linear(name, out, in)
}

// pointwiseNoBias makes a 1x1 convolution without a bias.
func (b *builder) pointwiseNoBias(name string, out, in int) *tensor.Weight {
	b.want(name+".weight", out, in, 1, 1)
	if b.loader == nil {
		return nil
	}
	return b.loader.LinearNoBias(name, out, in)
}

func (b *builder) groupNorm(name string, channels, groups int, eps float32) *nn.GroupNorm {
	b.want(name+".weight", channels)
	b.want(name+".bias", channels)
	if b.loader == nil {
		return nil
	}
	return nn.LoadGroupNorm(b.loader, name, channels, groups, eps)
}

// parameters returns the number of weights.
func (b *builder) parameters() int64 {
	var total int64
	for _, w := range b.wants {
		n := int64(1)
		for _, d := range w.Shape {
			n *= int64(d)
		}
		total += n
	}
	return total
}
