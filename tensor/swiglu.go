package tensor

import "github.com/tokencache/tokencache/internal/kernel"

// SwiGLU returns SiLU(x) · y, element by element.
func (g *Graph) SwiGLU(x, y *Tensor) *Tensor {
	mustMatch("second factor", y, x.Rows, x.Cols)
	z := g.byRow(rowOp{x: x, y: y, row: func(op *rowOp, i int) {
		kernel.SwiGLU(op.dst.Row(i), op.x.Row(i), op.y.Row(i))
	}}, g.New(x.Rows, x.Cols))
	if g.recording(x, y) {
		g.record(z, func(dz *Tensor) {
			dx, dy := g.newGrad(x.Rows, x.Cols), g.newGrad(x.Rows, x.Cols)
			g.byRow(rowOp{x: x, y: y, dy: dz, residual: dy, row: func(op *rowOp, i int) {
				kernel.SwiGLUGrad(op.dst.Row(i), op.residual.Row(i), op.x.Row(i), op.y.Row(i), op.dy.Row(i))
			}}, dx)
			g.passGrad(x, dx)
			g.passGrad(y, dy)
		})
	}
	return z
}
