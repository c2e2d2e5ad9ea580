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

// convNoBias makes a 3x3 convolution without a bias.
func (b *builder) convNoBias(name string, out, in int, s tensor.Conv3x3Geometry) *tensor.Conv3x3Weight {
	b.want(name+".weight", out, in, 3, 3)
	if b.loader == nil {
		return nil
	}
	return b.loader.Conv3x3NoBias(name, out, in, s)
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
