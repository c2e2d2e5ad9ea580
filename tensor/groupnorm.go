package tensor

import (
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
)

// Affine scales and shifts each channel of each sample.
type Affine struct{ Scale, Shift *Tensor } // [samples, channels]

// groupNormOp computes the mean and the squared deviations of every channel over chunks of pixels.
// Chunks do not depend on the number of workers and are combined in their order.
type groupNormOp struct {
	x       *Tensor
	chunks  split   // of a sample's pixels
	moments *Tensor // [samples*chunks, 2*channels]: means, then squared deviations
}

// chunkFloats is the number of elements of a chunk, which stays in a core's cache while it is read
// twice.
const chunkFloats = 1 << 16

// GroupNorm returns the affine map that normalises x: Apply then gives the channels of a sample, in
// groups of equal size, mean 0 and variance 1 over all pixels of their group, multiplies them by
// weight and adds bias, each [channels]. Eps is added to the variance. It has no backward pass.
func (g *Graph) GroupNorm(x Images, groups int, weight, bias []float32, eps float32) Affine {
	g.mustNotRecord("group norm", x.X)
	samples, channels := x.Samples(), x.X.Cols
	if groups < 1 || channels%groups != 0 || len(weight) != channels || len(bias) != channels {
		panic("tensor: group norm: " + x.X.String() + " does not fit the groups or the weights")
	}
	a := Affine{Scale: g.New(samples, channels), Shift: g.New(samples, channels)}
	mark := g.Mark()
	pixels := x.Height * x.Width
	op := &g.ops.norm
	*op = groupNormOp{x: x.X}
	op.chunks = newSplit(pixels, 1, (pixels*channels+chunkFloats-1)/chunkFloats)
	op.moments = g.New(samples*op.chunks.parts, 2*channels)
	g.run(op, op.moments.Rows)
	width := channels / groups
	for s := range samples {
		scale, shift := a.Scale.Row(s), a.Shift.Row(s)
		for first := 0; first < channels; first += width {
			mean, variance := op.group(s, first, first+width)
			rstd := 1 / math.Sqrt(variance+float64(eps))
			for c := first; c < first+width; c++ {
				f := float64(weight[c]) * rstd
				scale[c], shift[c] = float32(f), float32(float64(bias[c])-float64(mean*f))
			}
		}
	}
	g.Release(mark)
	return a
}

func (op *groupNormOp) run(part int, w *worker) {
	sample, chunk := part/op.chunks.parts, part%op.chunks.parts
	lo, hi := op.chunks.bounds(chunk)
	first := sample * op.chunks.n
	channels := op.x.Cols
	moments := op.moments.Row(part)
	mean, squares := moments[:channels], moments[channels:]
	d := w.floats(channels)

	clear(mean)
	for i := lo; i < hi; i++ {
		kernel.Add(mean, mean, op.x.Row(first+i))
	}
	kernel.Scale(mean, mean, 1/float32(hi-lo))
	clear(squares)
	for i := lo; i < hi; i++ {
		kernel.Sub(d, op.x.Row(first+i), mean)
		kernel.MulAdd(squares, d, d)
	}
}

// group combines the moments of channels c0 up to c1 of a sample.
func (op *groupNormOp) group(sample, c0, c1 int) (mean, variance float64) {
	channels := op.x.Cols
	for k := range op.chunks.parts {
		lo, hi := op.chunks.bounds(k)
		var sum float64
		for _, m := range op.moments.Row(sample*op.chunks.parts + k)[c0:c1] {
			sum += float64(m)
		}
		mean += sum * float64(hi-lo)
	}
	n := float64(op.chunks.n * (c1 - c0))
	mean /= n
	for k := range op.chunks.parts {
		lo, hi := op.chunks.bounds(k)
		row := op.moments.Row(sample*op.chunks.parts + k)
		for c := c0; c < c1; c++ {
			d := float64(row[c]) - mean
			variance += float64(row[channels+c]) + float64(float64(hi-lo)*d*d)
		}
	}
	return mean, variance / n
}

// Apply returns x·scale + shift. It has no backward pass.
func (g *Graph) Apply(x Images, a Affine) Images {
	mustMatch("scale", a.Scale, x.Samples(), x.X.Cols)
	mustMatch("shift", a.Shift, x.Samples(), x.X.Cols)
	g.mustNotRecord("scale and shift of channels", x.X, a.Scale, a.Shift)
	return x.With(g.byRow(rowOp{x: x.X, scale: a.Scale, shift: a.Shift, row: func(op *rowOp, i int) {
		s := i / (op.x.Rows / op.scale.Rows)
		kernel.ScaleShift(op.dst.Row(i), op.x.Row(i), op.scale.Row(s), op.shift.Row(s))
	}}, g.New(x.X.Rows, x.X.Cols)))
}
