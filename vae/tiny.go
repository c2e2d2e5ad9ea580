package vae

import (
	"errors"
	"fmt"
	"math"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// TinyConfig is the size of a tiny autoencoder.
type TinyConfig struct {
	LatentChannels int
	Width          int  // channels of every level
	Pool           bool // the blocks at the lowest resolution have an additional normalised branch
	ScaleFactor    float64
	ShiftFactor    float64
}

// Tiny is a tiny autoencoder: TAESD and its relatives. Its latents are in the diffusion model's
// scale (the scale factor is 1), unless its config.json says otherwise.
type Tiny struct {
	TinyConfig
	encoder     *tinyEncoder // or nil
	decoder     *tinyDecoder // or nil
	parameters  int64
	narrow      int // convolutions of the decoder that are not of float32
	fingerprint string
}

// Blocks of each level, in order of execution.
var (
	tinyEncoderBlocks = [...]int{1, 3, 3, 3}
	tinyDecoderBlocks = [...]int{3, 3, 3, 1}
)

const (
	tinyDownscale     = 1 << (len(tinyEncoderBlocks) - 1)
	tinyImageChannels = 3
	tinyPoolRatio     = 4 // width of the normalised branch, in widths of the block
	tinyPoolGroups    = 4
	tinyPoolEps       = 1e-5
)

type tinyEncoder struct {
	in     *tensor.Conv3x3Weight
	levels []tinyLevel
	out    *tensor.Conv3x3Weight
}

type tinyDecoder struct {
	in     *tensor.Conv3x3Weight
	levels []tinyLevel
	out    *tensor.Conv3x3Weight
}

// tinyLevel is the blocks at one resolution. Resize is the step before them in an encoder, after
// them in a decoder; nil in the encoder's first and the decoder's last level.
type tinyLevel struct {
	resize *tensor.Conv3x3Weight
	blocks []*tinyBlock
}

// tinyBlock is relu(x + three convolutions of x with relu between them). Some add a normalised
// branch to x beforehand.
type tinyBlock struct {
	conv [3]*tensor.Conv3x3Weight
	pool *tinyPool // or nil
}

// tinyPool is a 1x1 convolution to more channels, group norm and relu, and a 1x1 convolution back.
type tinyPool struct {
	in   *tensor.Weight
	norm *nn.GroupNorm
	out  *tensor.Weight
}

// Spec describes the autoencoder.
func (m *Tiny) Spec() Spec {
	return Spec{
		Name:           "tiny autoencoder",
		ImageChannels:  tinyImageChannels,
		LatentChannels: m.LatentChannels,
		Downscale:      tinyDownscale,
		ScaleFactor:    m.ScaleFactor, ShiftFactor: m.ShiftFactor, Parameters: m.parameters, Fingerprint: m.fingerprint,
		Narrow: m.narrow,
	}
}

// Decode implements Autoencoder.
func (m *Tiny) Decode(g *tensor.Graph, latents *tensor.Tensor, h, w int) (*tensor.Tensor, error) {
	if m.decoder == nil {
		return nil, errNoDecoder
	}
	out := g.New(latents.Rows, tinyImageChannels*h*w*tinyDownscale*tinyDownscale)
	err := eachSample(g, latents, m.LatentChannels, h, w, func(s int, z tensor.Images) {
		setSample(g, out, s, m.decoder.forward(g, z))
	})
	for i, v := range out.Flat() { // these networks' images are in [0,1]
		out.Data[i] = 2*v - 1
	}
	return out, err
}

// Encode implements Autoencoder.
func (m *Tiny) Encode(g *tensor.Graph, images *tensor.Tensor, height, width int) (Posterior, error) {
	if m.encoder == nil {
		return Posterior{}, errNoEncoder
	}
	if err := checkSize(height, width, tinyDownscale); err != nil {
		return Posterior{}, err
	}
	p := Posterior{Mean: g.New(images.Rows, m.LatentChannels*(height/tinyDownscale)*(width/tinyDownscale))}
	err := eachSample(g, images, tinyImageChannels, height, width, func(s int, x tensor.Images) {
		for i, v := range x.X.Flat() {
			x.X.Data[i] = (v + 1) / 2
		}
		setSample(g, p.Mean, s, m.encoder.forward(g, x))
	})
	return p, err
}

func (e *tinyEncoder) forward(g *tensor.Graph, x tensor.Images) tensor.Images {
	x = g.Conv3x3(tensor.Conv3x3Input{Images: x}, e.in)
	for _, l := range e.levels {
		if l.resize != nil {
			x = g.Conv3x3(tensor.Conv3x3Input{Images: x}, l.resize)
		}
		for _, b := range l.blocks {
			b.forward(g, x)
		}
	}
	return g.Conv3x3(tensor.Conv3x3Input{Images: x}, e.out)
}

// tinyLatentLimit is where the decoder's input saturates.
const tinyLatentLimit = 3

func (d *tinyDecoder) forward(g *tensor.Graph, z tensor.Images) tensor.Images {
	for i, v := range z.X.Flat() {
		z.X.Data[i] = float32(tinyLatentLimit * math.Tanh(float64(v)/tinyLatentLimit))
	}
	x := g.Conv3x3(tensor.Conv3x3Input{Images: z}, d.in)
	g.Activate(x.X, tensor.ReLU)
	for _, l := range d.levels {
		for _, b := range l.blocks {
			b.forward(g, x)
		}
		if l.resize != nil {
			x = g.Conv3x3(tensor.Conv3x3Input{Images: x}, l.resize)
		}
	}
	return g.Conv3x3(tensor.Conv3x3Input{Images: x}, d.out)
}

// forward overwrites x with the block's result.
func (b *tinyBlock) forward(g *tensor.Graph, x tensor.Images) {
	mark := g.Mark()
	if p := b.pool; p != nil {
		h := x.With(g.Linear(x.X, p.in))
		h = g.Apply(h, p.norm.Forward(g, h))
		g.AddInto(x.X, g.Linear(g.Activate(h.X, tensor.ReLU), p.out))
	}
	h := g.Conv3x3(tensor.Conv3x3Input{Images: x}, b.conv[0])
	h = g.Conv3x3(tensor.Conv3x3Input{Images: h, Activation: tensor.ReLU}, b.conv[1])
	g.Conv3x3Add(x, tensor.Conv3x3Input{Images: h, Activation: tensor.ReLU}, b.conv[2])
	g.Activate(x.X, tensor.ReLU)
	g.Release(mark)
}

// Validate returns an error for sizes that no tiny autoencoder can have.
func (c TinyConfig) Validate() error {
	var errs []error
	if c.LatentChannels < 1 || c.Width < 1 {
		errs = append(errs,
			fmt.Errorf("%d latent channels, %d channels: want 1 or more of each", c.LatentChannels, c.Width))
	}
	if c.ScaleFactor <= 0 {
		errs = append(errs, fmt.Errorf("scaling_factor is %g, want more than 0", c.ScaleFactor))
	}
	return errors.Join(errs...)
}

// Tensors lists the weights by their canonical names, encoder.N and decoder.N. As in the original,
// N counts convolutions, blocks, activations and changes of size.
func (c TinyConfig) Tensors() []checkpoint.Want {
	var b builder
	c.buildEncoder(&b)
	c.buildDecoder(&b)
	return b.wants
}

// NewTiny reads an autoencoder of the given size, under the canonical names: see
// TinyConfig.Tensors. Either source may be nil: the autoencoder then lacks that half.
func NewTiny(c TinyConfig, encoder, decoder nn.Source) (*Tiny, error) {
	return NewTinyAs(tensor.F32, c, encoder, decoder)
}

// NewTinyAs is NewTiny with the decoder in a number format: see OpenAs.
func NewTinyAs(d tensor.DType, c TinyConfig, encoder, decoder nn.Source) (*Tiny, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &Tiny{TinyConfig: c}
	if encoder != nil {
		b := builder{loader: nn.NewLoader(encoder)}
		m.encoder = c.buildEncoder(&b)
		m.parameters += b.parameters()
		m.fingerprint += b.loader.Fingerprint()
		if err := b.loader.Err(); err != nil {
			return nil, err
		}
	}
	if decoder != nil {
		b := builder{loader: nn.NewLoader(decoder), dtype: d}
		b.decodes(true)
		m.decoder = c.buildDecoder(&b)
		m.narrow = b.narrow
		m.parameters += b.parameters()
		m.fingerprint += b.loader.Fingerprint()
		if err := b.loader.Err(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (c TinyConfig) buildEncoder(b *builder) *tinyEncoder {
	n := counter{prefix: "encoder."}
	e := &tinyEncoder{in: b.conv(n.next(), c.Width, tinyImageChannels, tensor.Conv3x3Same)}
	for i, blocks := range tinyEncoderBlocks {
		var l tinyLevel
		if i > 0 {
			l.resize = b.convNoBias(n.next(), c.Width, c.Width, tensor.Conv3x3Halve)
		}
		for range blocks {
			l.blocks = append(l.blocks, c.buildBlock(b, n.next(), i == len(tinyEncoderBlocks)-1))
		}
		e.levels = append(e.levels, l)
	}
	e.out = b.conv(n.next(), c.LatentChannels, c.Width, tensor.Conv3x3Same)
	return e
}

func (c TinyConfig) buildDecoder(b *builder) *tinyDecoder {
	n := counter{prefix: "decoder."}
	n.skip() // the limit of the latents
	d := &tinyDecoder{in: b.conv(n.next(), c.Width, c.LatentChannels, tensor.Conv3x3Same)}
	n.skip() // relu
	for i, blocks := range tinyDecoderBlocks {
		var l tinyLevel
		for range blocks {
			l.blocks = append(l.blocks, c.buildBlock(b, n.next(), i == 0))
		}
		if i < len(tinyDecoderBlocks)-1 {
			n.skip() // doubling
			l.resize = b.convNoBias(n.next(), c.Width, c.Width, tensor.Conv3x3Double)
		}
		d.levels = append(d.levels, l)
	}
	d.out = b.conv(n.next(), tinyImageChannels, c.Width, tensor.Conv3x3Same)
	return d
}

func (c TinyConfig) buildBlock(b *builder, name string, lowest bool) *tinyBlock {
	var t tinyBlock
	for i := range t.conv {
		t.conv[i] = b.inner(fmt.Sprintf("%s.conv.%d", name, 2*i), c.Width, c.Width, tensor.Conv3x3Same)
	}
	if c.Pool && lowest {
		wide := tinyPoolRatio * c.Width
		t.pool = &tinyPool{
			in:   b.pointwiseNoBias(name+".pool.0", wide, c.Width),
			norm: b.groupNorm(name+".pool.1", wide, tinyPoolGroups, tinyPoolEps),
			out:  b.pointwiseNoBias(name+".pool.3", c.Width, wide),
		}
	}
	return &t
}

// counter names the parts of a sequence.
type counter struct {
	prefix string
	n      int
}

func (c *counter) skip() { c.n++ }

func (c *counter) next() string {
	c.n++
	return fmt.Sprintf("%s%d", c.prefix, c.n-1)
}
