package tensor

import (
	"fmt"

	"github.com/tokencache/tokencache/internal/kernel"
)

// Unfold3x3 returns the 3x3 neighbourhoods that a convolution of geometry s reads (im2col), a row
// for each result: nine pixels in reading order, all channels of a pixel together, zeros as
// padding; [samples*height*width, 9*channels]. Linear then completes the convolution. This is how
// small networks are trained: Conv3x3 has no backward pass.
func (g *Graph) Unfold3x3(in Images, s Conv3x3Geometry) Images {
	if s.Upsample || s.Stride < 1 {
		panic(fmt.Sprintf("tensor: no neighbourhoods of %+v", s))
	}
	channels := in.X.Cols
	out := Images{Height: s.out(in.Height), Width: s.out(in.Width)}
	out.X = g.New(in.Samples()*out.Height*out.Width, window*window*channels)
	pixels := out.Height * out.Width
	g.byRow(rowOp{x: in.X, row: func(op *rowOp, i int) {
		dst := op.dst.Row(i)
		sample, y, x := i/pixels, i%pixels/out.Width, i%out.Width
		for dy := range window {
			for dx := range window {
				to := dst[(dy*window+dx)*channels:][:channels]
				if at, ok := in.pixel(sample, y*s.Stride+dy-s.Before, x*s.Stride+dx-s.Before); ok {
					copy(to, op.x.Row(at))
				} else {
					clear(to)
				}
			}
		}
	}}, out.X)
	if g.recording(in.X) {
		g.record(out.X, func(dout *Tensor) {
			rows := Uniform(in.Samples(), pixels)
			g.bySample(rows, rowOp{dy: dout, by: rows, row: func(op *rowOp, i int) {
				from := op.dy.Row(i)
				sample, y, x := i/pixels, i%pixels/out.Width, i%out.Width
				for dy := range window {
					for dx := range window {
						if at, ok := in.pixel(sample, y*s.Stride+dy-s.Before, x*s.Stride+dx-s.Before); ok {
							kernel.Add(op.dst.Row(at), op.dst.Row(at), from[(dy*window+dx)*channels:][:channels])
						}
					}
				}
			}}, g.Grad(in.X))
		})
	}
	return out
}

// pixel returns the row of X that holds a sample's pixel, if it is in the image.
func (m Images) pixel(sample, y, x int) (row int, ok bool) {
	return (sample*m.Height+y)*m.Width + x, y >= 0 && y < m.Height && x >= 0 && x < m.Width
}

// SampleMean returns the mean of each sample's rows, [samples, columns].
func (g *Graph) SampleMean(x *Tensor, rows *Rows) *Tensor {
	if rows.Len() != x.Rows {
		panic(fmt.Sprintf("tensor: mean: input is %v, the samples have %d rows", x, rows.Len()))
	}
	y := g.byRow(rowOp{x: x, by: rows, row: func(op *rowOp, s int) {
		dst := op.dst.Row(s)
		clear(dst)
		from, to := op.by.Start[s], op.by.Start[s+1]
		for i := from; i < to; i++ {
			kernel.Add(dst, dst, op.x.Row(i))
		}
		kernel.Scale(dst, dst, 1/float32(max(to-from, 1)))
	}}, g.New(rows.Samples(), x.Cols))
	if g.recording(x) {
		g.record(y, func(dy *Tensor) {
			g.byRow(rowOp{dy: dy, by: rows, row: func(op *rowOp, i int) {
				s := int(op.by.Sample[i])
				kernel.AXPY(op.dst.Row(i), 1/float32(op.by.Start[s+1]-op.by.Start[s]), op.dy.Row(s))
			}}, g.Grad(x))
		})
	}
	return y
}
