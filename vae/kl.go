package vae

import (
	"slices"

	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// KL is AutoencoderKL: a convolutional encoder to the mean and variance of the latents, and a
// decoder.
type KL struct {
	KLConfig
	encoder     *klEncoder
	decoder     *klDecoder
	parameters  int64
	narrow      int // convolutions of the decoder that are not of float32
	fingerprint string
}

// klEncoder goes from pixels to moments through levels of falling resolution.
type klEncoder struct {
	convIn  *tensor.Conv3x3Weight
	levels  []klLevel
	mid     klMiddle
	normOut *nn.GroupNorm
	convOut *tensor.Conv3x3Weight
	quant   *tensor.Weight // [2L, 2L], or nil
}

// klDecoder goes from latents to pixels through levels of rising resolution.
type klDecoder struct {
	postQuant *tensor.Weight // [L, L], or nil
	convIn    *tensor.Conv3x3Weight
	mid       klMiddle
	levels    []klLevel
	normOut   *nn.GroupNorm
	convOut   *tensor.Conv3x3Weight
}

// klLevel is the blocks at one resolution, and the step to the next.
type klLevel struct {
	blocks []*resnet
	resize *tensor.Conv3x3Weight // halves or doubles the resolution; nil in the last level
}

// klMiddle is the blocks at the lowest resolution.
type klMiddle struct {
	before *resnet
	attn   *pixelAttention // or nil
	after  *resnet
}

// Spec describes the autoencoder.
func (m *KL) Spec() Spec {
	return Spec{
		Name:           "AutoencoderKL",
		ImageChannels:  m.ImageChannels,
		LatentChannels: m.LatentChannels,
		Downscale:      m.downscale(),
		ScaleFactor:    m.ScaleFactor, ShiftFactor: m.ShiftFactor, Parameters: m.parameters, Fingerprint: m.fingerprint,
		Narrow: m.narrow,
	}
}

// Decode implements Autoencoder.
func (m *KL) Decode(g *tensor.Graph, latents *tensor.Tensor, h, w int) (*tensor.Tensor, error) {
	out := g.New(latents.Rows, m.ImageChannels*h*w*m.downscale()*m.downscale())
	reserve(g, m.decoderFloats(h*w))
	err := eachSample(g, latents, m.LatentChannels, h, w, func(s int, z tensor.Images) {
		setSample(g, out, s, m.decoder.forward(g, z))
	})
	return out, err
}

// Encode implements Autoencoder. The logarithms of the variances are limited to -30 up to 20, as in
// the original.
func (m *KL) Encode(g *tensor.Graph, images *tensor.Tensor, height, width int) (Posterior, error) {
	d := m.downscale()
	if err := checkSize(height, width, d); err != nil {
		return Posterior{}, err
	}
	l := m.LatentChannels
	n := l * (height / d) * (width / d)
	p := Posterior{Mean: g.New(images.Rows, n), LogVar: g.New(images.Rows, n)}
	err := eachSample(g, images, m.ImageChannels, height, width, func(s int, x tensor.Images) {
		moments := m.encoder.forward(g, x)
		setSample(g, p.Mean, s, moments.With(g.Columns(moments.X, 0, l)))
		setSample(g, p.LogVar, s, moments.With(g.Columns(moments.X, l, 2*l)))
	})
	for i, v := range p.LogVar.Flat() {
		p.LogVar.Data[i] = min(max(v, -30), 20)
	}
	return p, err
}

func (e *klEncoder) forward(g *tensor.Graph, x tensor.Images) tensor.Images {
	x = g.Conv3x3(tensor.Conv3x3Input{Images: x}, e.convIn)
	for i := range e.levels {
		x = e.levels[i].forward(g, x)
	}
	x = e.mid.forward(g, x)
	x = g.Conv3x3(tensor.Conv3x3Input{Images: x, Affine: e.normOut.Forward(g, x), Activation: tensor.SiLU}, e.convOut)
	if e.quant != nil {
		x = x.With(g.Linear(x.X, e.quant))
	}
	return x
}

func (d *klDecoder) forward(g *tensor.Graph, z tensor.Images) tensor.Images {
	if d.postQuant != nil {
		z = z.With(g.Linear(z.X, d.postQuant))
	}
	mark := g.Mark()
	x := g.Conv3x3(tensor.Conv3x3Input{Images: z}, d.convIn)
	x = d.mid.forward(g, x)
	for i := range d.levels {
		x = settle(g, mark, d.levels[i].forward(g, x))
	}
	out := tensor.Conv3x3Input{Images: x, Affine: d.normOut.Forward(g, x), Activation: tensor.SiLU}
	return g.Conv3x3(out, d.convOut)
}

// decoderFloats returns the decoder's peak memory in floats: a level's input, its result and,
// inside a block, one more of that size, or, after the blocks, the input of the next level.
func (c KLConfig) decoderFloats(latentPixels int) int {
	peak, in := 0, c.Widths[len(c.Widths)-1]
	for i, width := range slices.Backward(c.Widths) {
		peak = max(peak, latentPixels*(in+2*width))
		if i > 0 {
			peak = max(peak, latentPixels*(in+(1+4)*width))
		}
		latentPixels *= 4
		in = width
	}
	return peak + peak/16 // the rest is small
}

func (l *klLevel) forward(g *tensor.Graph, x tensor.Images) tensor.Images {
	for _, b := range l.blocks {
		x = b.forward(g, x)
	}
	if l.resize != nil {
		x = g.Conv3x3(tensor.Conv3x3Input{Images: x}, l.resize)
	}
	return x
}

func (m *klMiddle) forward(g *tensor.Graph, x tensor.Images) tensor.Images {
	x = m.before.forward(g, x)
	if m.attn != nil {
		x = m.attn.forward(g, x)
	}
	return m.after.forward(g, x)
}

// resnet is a residual block: x + conv2(silu(norm2(conv1(silu(norm1(x)))))), x mapped to the
// output's channels if they differ.
type resnet struct {
	norm1, norm2 *nn.GroupNorm
	conv1, conv2 *tensor.Conv3x3Weight
	shortcut     *tensor.Weight // or nil
}

// forward overwrites x.
func (b *resnet) forward(g *tensor.Graph, x tensor.Images) tensor.Images {
	y := x
	if b.shortcut != nil {
		y = x.With(g.Linear(x.X, b.shortcut))
	}
	mark := g.Mark()
	h := g.Conv3x3(tensor.Conv3x3Input{Images: x, Affine: b.norm1.Forward(g, x), Activation: tensor.SiLU}, b.conv1)
	g.Conv3x3Add(y, tensor.Conv3x3Input{Images: h, Affine: b.norm2.Forward(g, h), Activation: tensor.SiLU}, b.conv2)
	g.Release(mark)
	return y
}

// pixelAttention is single-head self-attention over all pixels of an image.
type pixelAttention struct {
	norm       *nn.GroupNorm
	q, k, v    *tensor.Weight
	projection *tensor.Weight
}

// forward adds to x in place.
func (a *pixelAttention) forward(g *tensor.Graph, x tensor.Images) tensor.Images {
	mark := g.Mark()
	counts := g.Ints(x.Samples())
	for i := range counts {
		counts[i] = int32(x.Height * x.Width)
	}
	rows := g.Rows(counts)
	h := g.Apply(x, a.norm.Forward(g, x)).X
	y := g.Attention(tensor.AttentionInput{
		Heads: 1,
		Q:     g.Linear(h, a.q), QRows: rows,
		K: g.Linear(h, a.k), V: g.Linear(h, a.v), KRows: rows,
	})
	g.AddInto(x.X, g.Linear(y, a.projection))
	g.Release(mark)
	return x
}
