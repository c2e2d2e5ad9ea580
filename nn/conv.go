package nn

import "github.com/tokencache/tokencache/tensor"

// Conv returns the 3x3 convolution of in to out channels in prefix.weight and prefix.bias. A 1x1 convolution is a Linear.
func (l *Loader) Conv(prefix string, out, in int, s tensor.Geometry) *tensor.ConvWeight {
	bias := l.Vector(prefix+".bias", out)
	return tensor.NewConvWeight(l.scratch(prefix+".weight", out*in*9), out, in, bias, s)
}

// ConvNoBias returns the 3x3 convolution of in to out channels in prefix.weight.
func (l *Loader) ConvNoBias(prefix string, out, in int, s tensor.Geometry) *tensor.ConvWeight {
	return tensor.NewConvWeight(l.scratch(prefix+".weight", out*in*9), out, in, nil, s)
}

// LinearNoBias returns the linear map of in to out features in prefix.weight.
func (l *Loader) LinearNoBias(prefix string, out, in int) *tensor.Weight {
	return tensor.NewWeight(l.scratch(prefix+".weight", out*in), out, in, nil)
}
