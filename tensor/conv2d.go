package tensor

import (
	"fmt"

	"github.com/tokencache/tokencache/internal/kernel"
)

// Window2D is the geometry of a convolution or a pooling: the pixels that each result reads.
type Window2D struct {
	Height, Width int // of the window
	Stride        int // pixels between the windows of neighbouring results
	PadY, PadX    int // padding in pixels, above and below, and left and right
}

// Out returns the size of the results of images of the given size.
func (r Window2D) Out(height, width int) (outHeight, outWidth int) {
	return (height+2*r.PadY-r.Height)/r.Stride + 1, (width+2*r.PadX-r.Width)/r.Stride + 1
}

func (r Window2D) valid() bool {
	return r.Height >= 1 && r.Width >= 1 && r.Stride >= 1 &&
		r.PadY >= 0 && r.PadX >= 0 && r.PadY < r.Height && r.PadX < r.Width
}

// mustFit panics unless at least one window fits into the images.
func (r Window2D) mustFit(in Images) {
	if !r.valid() || in.Height+2*r.PadY < r.Height || in.Width+2*r.PadX < r.Width {
		panic(fmt.Sprintf("tensor: windows %+v of an image of %d x %d", r, in.Height, in.Width))
	}
}

// Conv2DWeight is a convolution of In to Out channels with windows of any size, for inference. The
// weights are packed for the kernels.
type Conv2DWeight struct {
	Window2D
	In, Out int
	Bias    []float32 // [Out] or nil
	packed  kernel.Packed
}

// NewConv2DWeight packs w, [out, in, r.Height, r.Width] by rows as PyTorch stores it; it keeps
// bias, which may be nil, and not w.
func NewConv2DWeight(w []float32, out, in int, bias []float32, r Window2D) *Conv2DWeight {
	pixels := r.Height * r.Width
	if !r.valid() || len(w) != out*in*pixels {
		panic(fmt.Sprintf("tensor: %d floats of a convolution of %d to %d channels, %+v", len(w), in, out, r))
	}
	planes := make([]float32, len(w)) // [out, r.Height, r.Width, in]
	for o := range out {
		one := o * pixels * in
		kernel.Transpose(planes[one:], in, w[one:], pixels, in, pixels)
	}
	return &Conv2DWeight{Window2D: r, In: in, Out: out, Bias: bias, packed: pack(planes, out)}
}

// Bytes returns the memory that the weight takes.
func (w *Conv2DWeight) Bytes() int64 {
	return 4 * int64(kernel.PackedLen(w.Out, w.Height*w.Width*w.In)+len(w.Bias))
}

// Conv2DInto sets dst, which may be columns of a wider matrix, to f of the convolution of in with w
// and returns it as images. The padding is zeros. It has no backward pass.
func (g *Graph) Conv2DInto(dst *Tensor, in Images, w *Conv2DWeight, f Activation) Images {
	w.mustFit(in)
	g.mustNotRecord("a convolution", in.X, dst)
	out := Images{X: dst}
	out.Height, out.Width = w.Window2D.Out(in.Height, in.Width)
	samples := in.Samples()
	mustMatch("input of the convolution", in.X, in.X.Rows, w.In)
	mustMatch("output of the convolution", dst, samples*out.Height*out.Width, w.Out)

	op := &g.ops.conv2D
	*op = conv2DOp{in: in, w: w, dst: out, f: f, line: (in.Width + 2*w.PadX) * w.In, taps: op.taps[:0]}
	for t := range w.Height {
		op.taps = append(op.taps, t*op.line)
	}
	want := 1
	if g.Workers() > 1 {
		want = g.Workers() * partsPerWorker
	}
	rows := min((out.Height*samples+want-1)/want, stripFloats/(op.line*w.Stride))
	op.strips = newSplit(out.Height, 1, out.Height/min(out.Height, max(rows, minStrip)))
	parts := samples * op.strips.parts
	op.panels = newSplit(w.packed.Panels(), 1, (want+parts-1)/parts)
	g.run(op, parts*op.panels.parts)
	g.count(2 * int64(dst.Rows) * int64(w.packed.K) * int64(w.Out))
	return out
}

// conv2DOp is divided, and reads its pixels, as conv3x3Op is.
type conv2DOp struct {
	in     Images
	w      *Conv2DWeight
	dst    Images
	f      Activation
	line   int // floats of a row of the copy
	taps   []int
	strips split
	panels split
}

func (op *conv2DOp) run(part int, worker *worker) {
	w := op.w
	group, part := part%op.panels.parts, part/op.panels.parts
	strip, sample := part%op.strips.parts, part/op.strips.parts
	y0, y1 := op.strips.bounds(strip)
	rows := (y1-y0-1)*w.Stride + w.Height
	scratch := worker.floats(rows*op.line + kernel.GemmScratch)
	pixels, scratch := scratch[:rows*op.line], scratch[rows*op.line:]
	op.prepare(pixels, sample, y0*w.Stride-w.PadY, rows)

	p0, p1 := op.panels.bounds(group)
	gemm := kernel.Gemm{
		LDA:  w.Stride * w.In,
		M:    op.dst.Width,
		Taps: op.taps,
		B:    &w.packed,
		Bias: w.Bias,
		LDC:  op.dst.X.Stride,
	}
	step := 1 // rows of results per product
	if w.Width == 1 && w.Stride == 1 {
		step = y1 - y0 // their pixels are contiguous
		gemm.M *= step
	}
	for y := y0; y < y1; y += step {
		first := (sample*op.dst.Height + y) * op.dst.Width
		gemm.A = pixels[(y-y0)*w.Stride*op.line:]
		gemm.C = op.dst.X.from(first)
		gemm.Run(scratch, 0, gemm.M, p0, p1)
		from, _ := w.packed.Panel(p0)
		last, cols := w.packed.Panel(p1 - 1)
		for i := range gemm.M {
			op.f.apply(op.dst.X.Row(first + i)[from : last+cols])
		}
	}
}

// prepare fills dst with the given number of a sample's rows from row top on, which may be above
// the image, with zeros around them.
func (op *conv2DOp) prepare(dst []float32, sample, top, rows int) {
	channels := op.w.In
	left, right := op.w.PadX*channels, (op.w.PadX+op.in.Width)*channels
	for r := range rows {
		line := dst[r*op.line:][:op.line]
		y := top + r
		if y < 0 || y >= op.in.Height {
			clear(line)
			continue
		}
		clear(line[:left])
		clear(line[right:])
		first := (sample*op.in.Height + y) * op.in.Width
		for x := range op.in.Width {
			copy(line[left+x*channels:][:channels], op.in.X.Row(first+x))
		}
	}
}

// takePixel combines a pixel of a window with dst; first says that it is the window's first pixel.
type takePixel func(dst, pixel []float32, first bool)

// MaxPoolInto sets dst, which may be columns of a wider matrix, to the largest values in the
// windows r and returns it as images. Padding does not count. It has no backward pass.
func (g *Graph) MaxPoolInto(dst *Tensor, in Images, r Window2D) Images {
	return g.pool2D(dst, in, r, func(dst, pixel []float32, first bool) {
		if first {
			copy(dst, pixel)
			return
		}
		for c, v := range pixel {
			dst[c] = max(dst[c], v)
		}
	}, false)
}

// MeanPoolInto sets dst to the mean values in the windows r and returns it as images. Padding does
// not count. It has no backward pass.
func (g *Graph) MeanPoolInto(dst *Tensor, in Images, r Window2D) Images {
	return g.pool2D(dst, in, r, func(dst, pixel []float32, first bool) {
		if first {
			copy(dst, pixel)
			return
		}
		kernel.Add(dst, dst, pixel)
	}, true)
}

// pool2D calls take for every pixel of every window, and divides the results by the number of
// pixels for a mean.
func (g *Graph) pool2D(dst *Tensor, in Images, r Window2D, take takePixel, mean bool) Images {
	r.mustFit(in)
	g.mustNotRecord("a pooling", in.X, dst)
	out := Images{X: dst}
	out.Height, out.Width = r.Out(in.Height, in.Width)
	mustMatch("output of the pooling", dst, in.Samples()*out.Height*out.Width, in.X.Cols)
	pixels := out.Height * out.Width
	g.byRow(rowOp{x: in.X, row: func(op *rowOp, i int) {
		to := op.dst.Row(i)
		sample := i / pixels
		y, x := i%pixels/out.Width*r.Stride-r.PadY, i%out.Width*r.Stride-r.PadX
		count := 0
		for dy := range r.Height {
			for dx := range r.Width {
				if at, ok := in.pixel(sample, y+dy, x+dx); ok {
					take(to, op.x.Row(at), count == 0)
					count++
				}
			}
		}
		if mean {
			kernel.Scale(to, to, 1/float32(count))
		}
	}}, dst)
	return out
}
