package nn

import "github.com/tokencache/tokencache/tensor"

// Conv3x3 returns the 3x3 convolution of in to out channels in prefix.weight and prefix.bias. A 1x1
// convolution is a Linear.
func (l *Loader) Conv3x3(prefix string, out, in int, s tensor.Conv3x3Geometry) *tensor.Conv3x3Weight {
	bias := l.Vector(prefix+".bias", out)
	return tensor.NewConv3x3Weight(l.scratch(prefix+".weight", out*in*9), out, in, bias, s)
}

// Conv3x3NoBias returns the 3x3 convolution of in to out channels in prefix.weight.
func (l *Loader) Conv3x3NoBias(prefix string, out, in int, s tensor.Conv3x3Geometry) *tensor.Conv3x3Weight {
	return tensor.NewConv3x3Weight(l.scratch(prefix+".weight", out*in*9), out, in, nil, s)
}
