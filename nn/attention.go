package nn

import "github.com/tokencache/tokencache/tensor"

// Attention holds the weights of multi-head self-attention, which models apply with
// tensor.Graph.Attention.
type Attention struct {
	Heads int
	QKV   *tensor.Weight // [3D, D]: queries, keys, values, each head by head
	Proj  *tensor.Weight // [D, D]
	Bias  *RelativeBias  // or nil
}

// LoadAttention reads prefix.qkv and prefix.proj.
func LoadAttention(l *Loader, prefix string, width, heads int) *Attention {
	return &Attention{
		Heads: heads,
		QKV:   l.Inner(prefix+".qkv", 3*width, width),
		Proj:  l.Inner(prefix+".proj", width, width),
	}
}

// MLP holds the weights of a hidden layer with GELU (tanh form).
type MLP struct {
	FC1 *tensor.Weight // [ratio*D, D]
	FC2 *tensor.Weight // [D, ratio*D]
}

// LoadMLP reads prefix.fc1 and prefix.fc2.
func LoadMLP(l *Loader, prefix string, width, hidden int) *MLP {
	return &MLP{FC1: l.Inner(prefix+".fc1", hidden, width), FC2: l.Inner(prefix+".fc2", width, hidden)}
}

// Hidden returns GELU(FC1(x)), [rows, ratio*D]. The caller applies FC2, to fuse it with the
// operation that follows.
func (m *MLP) Hidden(g *tensor.Graph, x *tensor.Tensor) *tensor.Tensor { return g.LinearGELU(x, m.FC1) }
