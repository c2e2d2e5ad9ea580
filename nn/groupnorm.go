package nn

import "github.com/tokencache/tokencache/tensor"

// GroupNorm normalises groups of channels over all pixels of an image, then scales and shifts each
// channel.
type GroupNorm struct {
	Groups       int
	Eps          float32 // added to the variance
	Weight, Bias []float32
}

// LoadGroupNorm reads prefix.weight and prefix.bias.
func LoadGroupNorm(l *Loader, prefix string, channels, groups int, eps float32) *GroupNorm {
	return &GroupNorm{
		Groups: groups, Eps: eps,
		Weight: l.Vector(prefix+".weight", channels),
		Bias:   l.Vector(prefix+".bias", channels),
	}
}

// Forward returns the affine map that normalises x, for Graph.Apply or the input of Graph.Conv3x3.
func (n *GroupNorm) Forward(g *tensor.Graph, x tensor.Images) tensor.Affine {
	return g.GroupNorm(x, n.Groups, n.Weight, n.Bias, n.Eps)
}
