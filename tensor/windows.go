package tensor

import (
	"fmt"

	"github.com/tokencache/tokencache/internal/kernel"
)

// Windows returns the 3x3 neighbourhoods that a convolution of geometry s reads, a row for each result: nine pixels in reading order, all channels
// of a pixel together, zeros beyond the edges; [samples*height*width, 9*channels]. Linear then completes the convolution. This is how
// small networks are trained; Conv, which never stores the neighbourhoods, has no way back.
func (g *Graph) Windows(in Images, s Geometry) Images {
	if s.Upsample || s.Stride < 1 {
		panic(fmt.Sprintf("tensor: no windows of %+v", s))
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
			g.bySample(Uniform(in.Samples(), pixels), rowOp{x: dout, by: Uniform(in.Samples(), pixels), row: func(op *rowOp, i int) {
				from := op.x.Row(i)
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

// pixel returns the row of X that holds a sample's pixel, if it is in the picture.
func (m Images) pixel(sample, y, x int) (row int, ok bool) {
	return (sample*m.Height+y)*m.Width + x, y >= 0 && y < m.Height && x >= 0 && x < m.Width
}

// SampleMean returns the mean of each sample's rows, [samples, columns].
func (g *Graph) SampleMean(x *Tensor, rows *Rows) *Tensor {
	if rows.Len() != x.Rows {
		panic(fmt.Sprintf("tensor: mean: %v has other rows than the %d that are divided among samples", x, rows.Len()))
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
			g.byRow(rowOp{x: dy, by: rows, row: func(op *rowOp, i int) {
				s := int(op.by.Sample[i])
				kernel.AXPY(op.dst.Row(i), 1/float32(op.by.Start[s+1]-op.by.Start[s]), op.x.Row(s))
			}}, g.Grad(x))
		})
	}
	return y
}
