package tensor

import (
	"fmt"

	"github.com/tokencache/tokencache/internal/kernel"
)

// Conv3x3Geometry is the stride and padding of a 3x3 convolution. The zero value is invalid: see
// Conv3x3Same, Conv3x3Double and Conv3x3Halve.
type Conv3x3Geometry struct {
	Stride        int  // pixels between the windows of neighbouring results
	Before, After int  // padding in pixels: above and left, and below and right
	Upsample      bool // the image is first doubled by nearest neighbour
}

// The usual geometries: they keep the size of the image, double it, or halve it, rounding up.
var (
	Conv3x3Same   = Conv3x3Geometry{Stride: 1, Before: 1, After: 1}
	Conv3x3Double = Conv3x3Geometry{Stride: 1, Before: 1, After: 1, Upsample: true}
	Conv3x3Halve  = Conv3x3Geometry{Stride: 2, Before: 1, After: 1}
)

// out returns the number of results along a side of n pixels; with Upsample, of each phase.
func (s Conv3x3Geometry) out(n int) int { return (n+s.Before+s.After-window)/s.Stride + 1 }

// window is the side of the square of pixels, as stored, that a result depends on.
const window = 3

// Conv3x3Weight is a 3x3 convolution of In to Out channels, for inference. The weights are packed
// for the kernels.
type Conv3x3Weight struct {
	In, Out int
	Bias    []float32 // [Out] or nil
	Conv3x3Geometry
	// A convolution of a doubled image is four convolutions (phases) of the image itself, one for
	// each of the four results of a pixel, with 2x2 windows whose weights are sums of the 3x3 ones:
	// 4/9 of the work. Any other has one phase.
	phases [][]kernel.Packed   // by row, by column; nil unless they are of float32
	taps   [][][]kernel.Packed // likewise of other formats: by row, by column, by row of the window
	side   int                 // of the windows of the phases
}

// NewConv3x3Weight packs w, [out, in, 3, 3] by rows as PyTorch stores it; it keeps bias, which may
// be nil, and not w.
func NewConv3x3Weight(w []float32, out, in int, bias []float32, s Conv3x3Geometry) *Conv3x3Weight {
	return NewConv3x3WeightAs(F32, w, out, in, bias, s)
}

// NewConv3x3WeightAs is NewConv3x3Weight of a number format that adds up in float32: F32 or BF16.
func NewConv3x3WeightAs(d DType, w []float32, out, in int, bias []float32, s Conv3x3Geometry) *Conv3x3Weight {
	if d != F32 && d != BF16 {
		panic(fmt.Sprintf("tensor: a convolution in %v", d))
	}
	if len(w) != out*in*window*window || s.Stride < 1 || s.Upsample && s != Conv3x3Double {
		panic(fmt.Sprintf("tensor: %d floats of a convolution of %d to %d channels, %+v", len(w), in, out, s))
	}
	c := &Conv3x3Weight{In: in, Out: out, Bias: bias, Conv3x3Geometry: s, side: window}
	planes := make([]float32, len(w)) // [out, 3, 3, in]
	for o := range out {
		one := o * window * window * in
		kernel.Transpose(planes[one:], in, w[one:], window*window, in, window*window)
	}
	if !s.Upsample {
		c.add(d, planes, 0)
		return c
	}
	c.side = 2
	sums := make([]float32, out*c.side*c.side*in)
	// By phase, by row or column of its window: the rows or columns of the 3x3 window that it sums.
	halves := [][][]int{{{0}, {1, 2}}, {{0, 1}, {2}}}
	for i, rows := range halves {
		for _, cols := range halves {
			addPlanes(sums, planes, out, in, rows, cols)
			c.add(d, sums, i)
		}
	}
	return c
}

// add packs w, [Out, side, side, In], as the next phase of row i.
func (w *Conv3x3Weight) add(d DType, phase []float32, i int) {
	if d != F32 {
		w.addTaps(d, phase, i)
		return
	}
	if i == len(w.phases) {
		w.phases = append(w.phases, nil)
	}
	w.phases[i] = append(w.phases[i], pack(phase, w.Out))
}

// sides is the number of phases along a side.
func (w *Conv3x3Weight) sides() int { return max(len(w.phases), len(w.taps)) }

func pack(w []float32, out int) kernel.Packed {
	k := len(w) / out
	return kernel.PackNK(kernel.AlignedFloats(kernel.PackedLen(out, k)), w, k, out, k)
}

// addPlanes sums planes, [out, 3, 3, in], over the given rows and columns of the window into dst,
// [out, len(rows), len(cols), in].
func addPlanes(dst, planes []float32, out, in int, rows, cols [][]int) {
	for o := range out {
		for i, ys := range rows {
			for j, xs := range cols {
				to := dst[((o*len(rows)+i)*len(cols)+j)*in:][:in]
				clear(to)
				for _, y := range ys {
					for _, x := range xs {
						kernel.Add(to, to, planes[((o*window+y)*window+x)*in:][:in])
					}
				}
			}
		}
	}
}

// DType returns the number format that the convolution multiplies in.
func (w *Conv3x3Weight) DType() DType {
	if w.taps != nil {
		return w.taps[0][0][0].DType()
	}
	return F32
}

// Bytes returns the memory that the weight takes.
func (w *Conv3x3Weight) Bytes() int64 {
	n := 4 * int64(len(w.Bias))
	for i := range w.sides() {
		for j := range w.sides() {
			if w.taps == nil {
				n += w.phases[i][j].Bytes()
				continue
			}
			for t := range w.taps[i][j] {
				n += w.taps[i][j][t].Bytes()
			}
		}
	}
	return n
}

// OutputSize returns the size of the results of images of the given size.
func (w *Conv3x3Weight) OutputSize(height, width int) (outHeight, outWidth int) {
	return w.out(height) * w.sides(), w.out(width) * w.sides()
}

// Conv3x3Input is the input of a convolution: Activation(x·scale + shift), padded with zeros. It is
// never stored as a whole.
type Conv3x3Input struct {
	Images
	Affine     Affine // the zero value for none
	Activation Activation
}

// Conv3x3 returns the convolution of in with w. It has no backward pass.
func (g *Graph) Conv3x3(in Conv3x3Input, w *Conv3x3Weight) Images {
	dst := Images{}
	dst.Height, dst.Width = w.OutputSize(in.Height, in.Width)
	dst.X = g.New(in.Samples()*dst.Height*dst.Width, w.Out)
	g.conv(in, w, dst, false)
	return dst
}

// Conv3x3Add adds the convolution of in with w to dst in place and returns dst. It has no backward
// pass.
func (g *Graph) Conv3x3Add(dst Images, in Conv3x3Input, w *Conv3x3Weight) Images {
	g.conv(in, w, dst, true)
	return dst
}

// conv3x3Op divides a convolution over strips of rows of each sample and groups of panels. Each
// part copies the rows that its strip depends on, prepared and padded with zeros. In that copy the
// pixels under a row of a window are contiguous, so that a convolution is a matrix product with one
// tap for each row of the window, and nothing is gathered.
type conv3x3Op struct {
	in     Conv3x3Input
	w      *Conv3x3Weight
	dst    Images
	add    bool
	line   int // floats of a row of the copy
	taps   [window]int
	strips split
	panels split
}

const (
	minStrip    = 4       // rows of results: fewer prepare too many rows twice
	stripFloats = 1 << 19 // maximum size of a copy, unless minStrip needs more
)

func (g *Graph) conv(in Conv3x3Input, w *Conv3x3Weight, dst Images, add bool) {
	g.mustNotRecord("a convolution", in.X, dst.X)
	samples := in.Samples()
	height, width := w.out(in.Height), w.out(in.Width)
	mustMatch("input of the convolution", in.X, in.X.Rows, w.In)
	mustMatch("output of the convolution", dst.X, samples*height*width*w.sides()*w.sides(), w.Out)
	if a := in.Affine; a.Scale != nil {
		mustMatch("scale", a.Scale, samples, w.In)
		mustMatch("shift", a.Shift, samples, w.In)
	}
	if height < 1 || width < 1 {
		panic(fmt.Sprintf("tensor: convolution of an image of %d x %d", in.Height, in.Width))
	}
	op := &g.ops.conv
	line := (in.Width + w.Before + w.After) * w.In
	*op = conv3x3Op{in: in, w: w, dst: dst, add: add, line: line, taps: [window]int{0, line, 2 * line}}
	want := 1
	if g.Workers() > 1 {
		want = g.Workers() * partsPerWorker
	}
	rows := min((height*samples+want-1)/want, stripFloats/(line*w.Stride))
	op.strips = newSplit(height, 1, height/min(height, max(rows, minStrip)))
	parts := samples * op.strips.parts
	op.panels = newSplit(w.panels(), 1, (want+parts-1)/parts)
	g.run(op, parts*op.panels.parts)
	g.count(2 * int64(dst.X.Rows) * int64(w.side*w.side*w.In) * int64(w.Out))
}

func (op *conv3x3Op) run(part int, worker *worker) {
	w := op.w
	group, part := part%op.panels.parts, part/op.panels.parts
	strip, sample := part%op.strips.parts, part/op.strips.parts
	y0, y1 := op.strips.bounds(strip)
	rows := (y1-y0-1)*w.Stride + window
	if w.taps != nil {
		op.runTaps(group, sample, y0, y1, worker)
		return
	}
	scratch := worker.floats(rows*op.line + kernel.GemmScratch)
	pixels, scratch := scratch[:rows*op.line], scratch[rows*op.line:]
	op.prepare(pixels, sample, y0*w.Stride-w.Before, rows)

	height, width, phases := w.out(op.in.Height), w.out(op.in.Width), len(w.phases)
	p0, p1 := op.panels.bounds(group)
	for i := range phases {
		for j := range phases {
			gemm := kernel.Gemm{
				LDA: w.Stride * w.In, M: width, Taps: op.taps[:w.side],
				B: &w.phases[i][j], Bias: w.Bias, Accumulate: op.add,
				LDC: phases * op.dst.X.Stride,
			}
			for p := p0; p < p1; p++ {
				for y := y0; y < y1; y++ {
					gemm.A = pixels[(y-y0)*w.Stride*op.line+i*op.line+j*w.In:]
					gemm.C = op.dst.X.from(((sample*height+y)*phases+i)*width*phases + j)
					gemm.Run(scratch, 0, width, p, p+1)
				}
			}
		}
	}
}

// prepare fills dst with the given number of a sample's rows from row top on, which may be above
// the image.
func (op *conv3x3Op) prepare(dst []float32, sample, top, rows int) {
	in, channels := &op.in, op.w.In
	for r := range rows {
		line := dst[r*op.line:][:op.line]
		y := top + r
		if y < 0 || y >= in.Height {
			clear(line)
			continue
		}
		left, right := op.w.Before*channels, (op.w.Before+in.Width)*channels
		clear(line[:left])
		clear(line[right:])
		line = line[left:right]
		first := (sample*in.Height + y) * in.Width
		for x := range in.Width {
			to, from := line[x*channels:][:channels], in.X.Row(first+x)
			if in.Affine.Scale == nil {
				copy(to, from)
			} else {
				kernel.ScaleShift(to, from, in.Affine.Scale.Row(sample), in.Affine.Shift.Row(sample))
			}
		}
		in.Activation.apply(line)
	}
}
