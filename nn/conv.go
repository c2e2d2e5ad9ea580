package nn

import "github.com/tokencache/tokencache/tensor"

// Conv3x3 returns the 3x3 convolution of in to out channels in prefix.weight and prefix.bias. A 1x1
// convolution is a Linear.
func (l *Loader) Conv3x3(prefix string, out, in int, s tensor.Conv3x3Geometry) *tensor.Conv3x3Weight {
	bias := l.Vector(prefix+".bias", out)
	return tensor.NewConv3x3Weight(l.scratch(prefix+".weight", out*in*9), out, in, bias, s)
}

// InnerConv3x3 is Conv3x3 in the Loader's number format, in float32 where that is int8.
func (l *Loader) InnerConv3x3(prefix string, out, in int, s tensor.Conv3x3Geometry) *tensor.Conv3x3Weight {
	bias := l.Vector(prefix+".bias", out)
	return tensor.NewConv3x3WeightAs(l.convDType(), l.scratch(prefix+".weight", out*in*9), out, in, bias, s)
}

// InnerConv3x3NoBias is InnerConv3x3 without a bias.
func (l *Loader) InnerConv3x3NoBias(prefix string, out, in int, s tensor.Conv3x3Geometry) *tensor.Conv3x3Weight {
	return tensor.NewConv3x3WeightAs(l.convDType(), l.scratch(prefix+".weight", out*in*9), out, in, nil, s)
}

// convDType is the number format of inner convolutions.
func (l *Loader) convDType() tensor.DType {
	if l.dtype == tensor.BF16 {
		return tensor.BF16
	}
	return tensor.F32
}

// Conv3x3NoBias returns the 3x3 convolution of in to out channels in prefix.weight.
func (l *Loader) Conv3x3NoBias(prefix string, out, in int, s tensor.Conv3x3Geometry) *tensor.Conv3x3Weight {
	return tensor.NewConv3x3Weight(l.scratch(prefix+".weight", out*in*9), out, in, nil, s)
}
