package eval

import (
	"fmt"
	"math"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// Inception is the Inception-v3 network whose features published FIDs are taken from (Szegedy et
// al. 2015, arXiv 1512.00567, as TensorFlow's graph of 2015-12-05 has it), with the tensors' names
// of pytorch-fid's weights.
type Inception struct {
	Fingerprint string
	Bias        []float32 // of the logits, which Forward leaves out as the ADM evaluator does
	// Crop is the side in pixels that Predict first crops all images to, as DiT prepares its
	// training images; 0 leaves them as they are.
	Crop int

	stem          [5]*tensor.Conv2DWeight
	a             [3]inceptionA
	b             inceptionB
	c             [4]inceptionC
	d             inceptionD
	e             [2]inceptionE
	head          *tensor.Weight
	preprocessing Preprocessing
}

// The sizes of Inception's input and of what it sees.
const (
	InceptionSize    = 299
	InceptionPool    = 2048
	InceptionSpatial = spatialSide * spatialSide * spatialChannels
	InceptionClasses = 1008

	spatialSide     = 17
	spatialChannels = 7 // of the 192 that the branch has
	inceptionEps    = 1e-3
)

// inceptionConv is a convolution, the normalisation behind it and ReLU. Height and width are of the
// window, which is padded so as to keep the size unless valid.
type inceptionConv struct {
	name          string
	in, out       int
	height, width int
	stride        int
	valid         bool
}

func (c inceptionConv) window() tensor.Window2D {
	r := tensor.Window2D{Height: c.height, Width: c.width, Stride: max(c.stride, 1)}
	if !c.valid {
		r.PadY, r.PadX = c.height/2, c.width/2
	}
	return r
}

// inceptionBuilder makes the network's layers in order, or lists their tensors if it has no loader.
type inceptionBuilder struct {
	loader *nn.Loader
	wants  []checkpoint.Want
	err    error
}

func (b *inceptionBuilder) want(name string, shape ...int) []float32 {
	b.wants = append(b.wants, checkpoint.Want{Name: name, Shape: shape})
	if b.loader == nil {
		return nil
	}
	n := 1
	for _, s := range shape {
		n *= s
	}
	return b.loader.Vector(name, n)
}

// conv reads a convolution and folds the normalisation into it.
func (b *inceptionBuilder) conv(c inceptionConv) *tensor.Conv2DWeight {
	w := b.want(c.name+".conv.weight", c.out, c.in, c.height, c.width)
	scale, shift := b.want(c.name+".bn.weight", c.out), b.want(c.name+".bn.bias", c.out)
	mean, variance := b.want(c.name+".bn.running_mean", c.out), b.want(c.name+".bn.running_var", c.out)
	if b.loader == nil || b.loader.Err() != nil {
		return nil
	}
	bias := make([]float32, c.out)
	each := len(w) / c.out
	for o := range c.out {
		if !(variance[o] >= 0) && b.err == nil {
			b.err = fmt.Errorf("tensor %s.bn.running_var: element %d is %g, want a variance", c.name, o, variance[o])
		}
		f := float64(scale[o]) / math.Sqrt(float64(variance[o])+inceptionEps)
		bias[o] = float32(float64(shift[o]) - float64(mean[o])*f)
		for i := range each {
			w[o*each+i] = float32(float64(w[o*each+i]) * f)
		}
	}
	return tensor.NewConv2DWeight(w, c.out, c.in, bias, c.window())
}

// chain reads convolutions, each of the results of the one before, whose names begin with prefix.
func (b *inceptionBuilder) chain(prefix string, in int, steps ...inceptionConv) []*tensor.Conv2DWeight {
	var list []*tensor.Conv2DWeight
	for _, s := range steps {
		s.name, s.in = prefix+s.name, in
		list = append(list, b.conv(s))
		in = s.out
	}
	return list
}

// same is a convolution of windows of height x width that keeps the size.
func same(name string, out, height, width int) inceptionConv {
	return inceptionConv{name: name, out: out, height: height, width: width}
}

// halving is a 3x3 convolution without padding that takes every second pixel.
func halving(name string, out int) inceptionConv {
	return inceptionConv{name: name, out: out, height: 3, width: 3, stride: 2, valid: true}
}

type inceptionA struct{ one, five, three, pool []*tensor.Conv2DWeight }

type inceptionB struct{ three, double []*tensor.Conv2DWeight }

type inceptionC struct{ one, seven, double, pool []*tensor.Conv2DWeight }

type inceptionD struct{ three, seven []*tensor.Conv2DWeight }

// inceptionE has two branches that end in two windows side by side, 1x3 and 3x1.
type inceptionE struct{ one, three, threeEnds, double, doubleEnds, pool []*tensor.Conv2DWeight }

func (b *inceptionBuilder) mixedA(name string, in, pool int) inceptionA {
	return inceptionA{
		one:  b.chain(name, in, same(".branch1x1", 64, 1, 1)),
		five: b.chain(name, in, same(".branch5x5_1", 48, 1, 1), same(".branch5x5_2", 64, 5, 5)),
		three: b.chain(name, in,
			same(".branch3x3dbl_1", 64, 1, 1), same(".branch3x3dbl_2", 96, 3, 3), same(".branch3x3dbl_3", 96, 3, 3)),
		pool: b.chain(name, in, same(".branch_pool", pool, 1, 1)),
	}
}

func (b *inceptionBuilder) mixedC(name string, in, mid int) inceptionC {
	return inceptionC{
		one: b.chain(name, in, same(".branch1x1", 192, 1, 1)),
		seven: b.chain(name, in,
			same(".branch7x7_1", mid, 1, 1), same(".branch7x7_2", mid, 1, 7), same(".branch7x7_3", 192, 7, 1)),
		double: b.chain(name, in,
			same(".branch7x7dbl_1", mid, 1, 1), same(".branch7x7dbl_2", mid, 7, 1), same(".branch7x7dbl_3", mid, 1, 7),
			same(".branch7x7dbl_4", mid, 7, 1), same(".branch7x7dbl_5", 192, 1, 7)),
		pool: b.chain(name, in, same(".branch_pool", 192, 1, 1)),
	}
}

func (b *inceptionBuilder) mixedE(name string, in int) inceptionE {
	ends := func(branch string) []*tensor.Conv2DWeight {
		return append(b.chain(name, 384, same(branch+"a", 384, 1, 3)),
			b.chain(name, 384, same(branch+"b", 384, 3, 1))...)
	}
	return inceptionE{
		one:        b.chain(name, in, same(".branch1x1", 320, 1, 1)),
		three:      b.chain(name, in, same(".branch3x3_1", 384, 1, 1)),
		threeEnds:  ends(".branch3x3_2"),
		double:     b.chain(name, in, same(".branch3x3dbl_1", 448, 1, 1), same(".branch3x3dbl_2", 384, 3, 3)),
		doubleEnds: ends(".branch3x3dbl_3"),
		pool:       b.chain(name, in, same(".branch_pool", 192, 1, 1)),
	}
}

func (b *inceptionBuilder) build(n *Inception) {
	valid := func(name string, out int) inceptionConv {
		return inceptionConv{name: name, out: out, height: 3, width: 3, valid: true}
	}
	stem := append(b.chain("Conv2d_", 3, halving("1a_3x3", 32), valid("2a_3x3", 32), same("2b_3x3", 64, 3, 3)),
		b.chain("Conv2d_", 64, same("3b_1x1", 80, 1, 1), valid("4a_3x3", 192))...)
	copy(n.stem[:], stem)
	n.a[0] = b.mixedA("Mixed_5b", 192, 32)
	n.a[1] = b.mixedA("Mixed_5c", 256, 64)
	n.a[2] = b.mixedA("Mixed_5d", 288, 64)
	n.b.three = b.chain("Mixed_6a", 288, halving(".branch3x3", 384))
	n.b.double = b.chain("Mixed_6a", 288,
		same(".branch3x3dbl_1", 64, 1, 1), same(".branch3x3dbl_2", 96, 3, 3), halving(".branch3x3dbl_3", 96))
	for i, mid := range []int{128, 160, 160, 192} {
		n.c[i] = b.mixedC("Mixed_6"+string(rune('b'+i)), 768, mid)
	}
	n.d.three = b.chain("Mixed_7a", 768, same(".branch3x3_1", 192, 1, 1), halving(".branch3x3_2", 320))
	n.d.seven = b.chain("Mixed_7a", 768,
		same(".branch7x7x3_1", 192, 1, 1), same(".branch7x7x3_2", 192, 1, 7), same(".branch7x7x3_3", 192, 7, 1),
		halving(".branch7x7x3_4", 192))
	n.e[0] = b.mixedE("Mixed_7b", 1280)
	n.e[1] = b.mixedE("Mixed_7c", 2048)
	head := b.want("fc.weight", InceptionClasses, InceptionPool)
	n.Bias = b.want("fc.bias", InceptionClasses)
	if head != nil {
		n.head = tensor.NewWeight(head, InceptionClasses, InceptionPool, nil)
	}
}

// InceptionTensors lists the weights, with their shapes.
func InceptionTensors() []checkpoint.Want {
	b := &inceptionBuilder{}
	b.build(&Inception{})
	return b.wants
}

// NewInception reads the network from src. p says how its images are prepared.
func NewInception(src nn.Source, p Preprocessing) (*Inception, error) {
	b := &inceptionBuilder{loader: nn.NewLoader(src)}
	n := &Inception{preprocessing: p}
	b.build(n)
	if err := b.loader.Err(); err != nil {
		return nil, err
	}
	n.Fingerprint = b.loader.Fingerprint()
	return n, b.err
}

// IsInception reports whether a file of weights has the network's first and last layers.
func IsInception(f *checkpoint.File) bool {
	_, first := f.Lookup("Conv2d_1a_3x3.conv.weight")
	_, last := f.Lookup("fc.weight")
	return first && last
}

// OpenInception reads the network from a file such as pytorch-fid's.
func OpenInception(f *checkpoint.File, p Preprocessing) (*Inception, error) {
	ignore := func(name string) bool {
		return strings.HasSuffix(name, ".num_batches_tracked") || strings.HasPrefix(name, "AuxLogits.")
	}
	if err := checkpoint.Check(f, InceptionTensors(), ignore); err != nil {
		return nil, fmt.Errorf("%s: not Inception-v3 as pytorch-fid keeps it: %w", f.Path, err)
	}
	n, err := NewInception(f, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return n, nil
}

// Identity implements Network.
func (n *Inception) Identity() string {
	return fmt.Sprintf("inception-v3 %s, preprocessing %s", n.Fingerprint, n.preprocessing)
}

// run sends x through a chain; the last result goes into dst or, if that is nil, into new memory.
func run(g *tensor.Graph, dst *tensor.Tensor, x tensor.Images, chain []*tensor.Conv2DWeight) tensor.Images {
	for i, w := range chain {
		to := dst
		if i < len(chain)-1 || dst == nil {
			h, wd := w.Window2D.Out(x.Height, x.Width)
			to = g.New(x.Samples()*h*wd, w.Out)
		}
		x = g.Conv2DInto(to, x, w, tensor.ReLU)
	}
	return x
}

var (
	poolHalve = tensor.Window2D{Height: 3, Width: 3, Stride: 2}
	poolSame  = tensor.Window2D{Height: 3, Width: 3, Stride: 1, PadY: 1, PadX: 1}
)

// halved returns the largest values of 3x3 windows, every second pixel, in dst or, if that is nil,
// in new memory.
func halved(g *tensor.Graph, dst *tensor.Tensor, x tensor.Images) tensor.Images {
	if dst == nil {
		h, w := poolHalve.Out(x.Height, x.Width)
		dst = g.New(x.Samples()*h*w, x.X.Cols)
	}
	return g.MaxPoolInto(dst, x, poolHalve)
}

// joined is a matrix whose columns are filled from left to right.
type joined struct {
	g    *tensor.Graph
	m    tensor.Images
	used int
}

func join(g *tensor.Graph, samples, height, width, channels int) *joined {
	return &joined{g: g, m: tensor.Images{X: g.New(samples*height*width, channels), Height: height, Width: width}}
}

func (j *joined) next(channels int) *tensor.Tensor {
	j.used += channels
	return j.g.Columns(j.m.X, j.used-channels, j.used)
}

func (j *joined) branch(x tensor.Images, chain []*tensor.Conv2DWeight) tensor.Images {
	return run(j.g, j.next(chain[len(chain)-1].Out), x, chain)
}

func blockA(g *tensor.Graph, x tensor.Images, b *inceptionA) tensor.Images {
	j := join(g, x.Samples(), x.Height, x.Width, 64+64+96+b.pool[0].Out)
	j.branch(x, b.one)
	j.branch(x, b.five)
	j.branch(x, b.three)
	j.branch(g.MeanPoolInto(g.New(x.X.Rows, x.X.Cols), x, poolSame), b.pool)
	return j.m
}

func blockC(g *tensor.Graph, x tensor.Images, b *inceptionC) (all, one tensor.Images) {
	j := join(g, x.Samples(), x.Height, x.Width, 4*192)
	one = j.branch(x, b.one)
	j.branch(x, b.seven)
	j.branch(x, b.double)
	j.branch(g.MeanPoolInto(g.New(x.X.Rows, x.X.Cols), x, poolSame), b.pool)
	return j.m, one
}

// blockHalve is one of the blocks that halve the size: two branches, and the largest values of the
// input.
func blockHalve(g *tensor.Graph, x tensor.Images, first, second []*tensor.Conv2DWeight) tensor.Images {
	h, w := poolHalve.Out(x.Height, x.Width)
	j := join(g, x.Samples(), h, w, first[len(first)-1].Out+second[len(second)-1].Out+x.X.Cols)
	j.branch(x, first)
	j.branch(x, second)
	halved(g, j.next(x.X.Cols), x)
	return j.m
}

// blockE pools by the mean in the first of its kind and by the largest value in the second, as the
// graph does.
func blockE(g *tensor.Graph, x tensor.Images, b *inceptionE, largest bool) tensor.Images {
	j := join(g, x.Samples(), x.Height, x.Width, 2048)
	j.branch(x, b.one)
	three := run(g, nil, x, b.three)
	j.branch(three, b.threeEnds[:1])
	j.branch(three, b.threeEnds[1:])
	double := run(g, nil, x, b.double)
	j.branch(double, b.doubleEnds[:1])
	j.branch(double, b.doubleEnds[1:])
	pooled := g.New(x.X.Rows, x.X.Cols)
	if largest {
		j.branch(g.MaxPoolInto(pooled, x, poolSame), b.pool)
	} else {
		j.branch(g.MeanPoolInto(pooled, x, poolSame), b.pool)
	}
	return j.m
}

// Forward returns what the network sees in prepared images of InceptionSize: the pool features
// [samples, 2048] that FID is taken from; the spatial features [samples, 2023] of sFID, which are
// the first 7 channels of a branch in the middle of the network; and the logits [samples, 1008]
// without their bias.
func (n *Inception) Forward(g *tensor.Graph, x tensor.Images) (pool, spatial, logits *tensor.Tensor) {
	x = run(g, nil, x, n.stem[:3])
	x = halved(g, nil, x)
	x = run(g, nil, x, n.stem[3:])
	x = halved(g, nil, x)
	for i := range n.a {
		x = blockA(g, x, &n.a[i])
	}
	x = blockHalve(g, x, n.b.three, n.b.double)
	for i := range n.c {
		var one tensor.Images
		x, one = blockC(g, x, &n.c[i])
		if i == 2 {
			spatial = spatialFeatures(g, one)
		}
	}
	x = blockHalve(g, x, n.d.three, n.d.seven)
	x = blockE(g, x, &n.e[0], false)
	x = blockE(g, x, &n.e[1], true)
	pool = g.SampleMean(x.X, tensor.Uniform(x.Samples(), x.Height*x.Width))
	return pool, spatial, g.Linear(pool, n.head)
}

// spatialFeatures lays out the first channels pixel by pixel, as the ADM evaluator flattens them.
func spatialFeatures(g *tensor.Graph, x tensor.Images) *tensor.Tensor {
	dst := g.New(x.Samples(), x.Height*x.Width*spatialChannels)
	for i := range x.X.Rows {
		copy(dst.Data[i*spatialChannels:][:spatialChannels], x.X.Row(i))
	}
	return dst
}
