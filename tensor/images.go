package tensor

import (
	"fmt"

	"github.com/tokencache/tokencache/internal/kernel"
)

// Images are images of one size: a row of X is a pixel, in reading order, one image after another;
// a column is a channel. A 1x1 convolution is therefore Linear, and pixels are tokens to Attention.
type Images struct {
	X             *Tensor // [samples*Height*Width, channels]
	Height, Width int
}

// Samples returns the number of images.
func (m Images) Samples() int {
	pixels := m.Height * m.Width
	if pixels < 1 || m.X.Rows%pixels != 0 {
		panic(fmt.Sprintf("tensor: %v is not a whole number of images of %d x %d", m.X, m.Height, m.Width))
	}
	return m.X.Rows / pixels
}

// With returns images of m's size over x, whose number of channels may differ.
func (m Images) With(x *Tensor) Images {
	mustMatch("pixels", x, m.X.Rows, x.Cols)
	return Images{X: x, Height: m.Height, Width: m.Width}
}

// Activation is a function applied to every element.
type Activation int

const (
	Identity Activation = iota
	SiLU                // x·sigmoid(x)
	ReLU                // max(x, 0)
)

// apply applies the function to x in place.
func (a Activation) apply(x []float32) {
	switch a {
	case SiLU:
		kernel.SiLU(x, x)
	case ReLU:
		kernel.ReLU(x, x)
	}
}

// Activate applies f to x in place and returns x. It has no backward pass.
func (g *Graph) Activate(x *Tensor, f Activation) *Tensor {
	g.mustNotRecord("an activation in place", x)
	switch f {
	case SiLU:
		g.byRow(rowOp{row: func(op *rowOp, i int) { SiLU.apply(op.dst.Row(i)) }}, x)
	case ReLU:
		g.byRow(rowOp{row: func(op *rowOp, i int) { ReLU.apply(op.dst.Row(i)) }}, x)
	}
	return x
}
