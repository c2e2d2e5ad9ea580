package tensor

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
)

// Rotation is a table of rotary position embeddings (Su et al., "RoFormer", 2021): for each place
// the cosines and sines of dim/2 angles, by which a head's column j and column j + dim/2 are turned.
type Rotation struct {
	Dim               int // of a head
	cos, sin, negated *Tensor
}

// NewRotation returns the table of places by angles, [places, dim/2] in radians.
func NewRotation(angles []float64, dim int) *Rotation {
	half := dim / 2
	if dim < 2 || dim%2 != 0 || len(angles)%half != 0 {
		panic(fmt.Sprintf("tensor: a rotation of %d columns by %d angles", dim, len(angles)))
	}
	places := len(angles) / half
	table := func(f func(float64) float64) *Tensor {
		values := make([]float32, len(angles))
		for i, a := range angles {
			values[i] = float32(f(a))
		}
		return FromSlice(values, places, half)
	}
	return &Rotation{
		Dim:     dim,
		cos:     table(math.Cos),
		sin:     table(math.Sin),
		negated: table(func(a float64) float64 { return -math.Sin(a) }),
	}
}

// Rotate returns x, [rows, heads*dim], with every head of row i turned by the angles of place[i].
func (g *Graph) Rotate(x *Tensor, r *Rotation, place []int32) *Tensor {
	if x.Cols%r.Dim != 0 || len(place) != x.Rows {
		panic(fmt.Sprintf("tensor: rotation: input is %v, with %d places and heads of %d", x, len(place), r.Dim))
	}
	y := g.byRow(rowOp{x: x, alpha: r.cos, shift: r.sin, index: place, row: rotateRow},
		g.New(x.Rows, x.Cols))
	if g.recording(x) {
		g.record(y, func(dy *Tensor) {
			back := rowOp{x: dy, alpha: r.cos, shift: r.negated, index: place, row: rotateRow}
			if x.grad == nil && x.base == nil {
				x.grad = g.byRow(back, g.newGrad(x.Rows, x.Cols))
				return
			}
			dx := g.Grad(x)
			m := g.Mark()
			g.addInto(dx, g.byRow(back, g.New(x.Rows, x.Cols)))
			g.Release(m)
		})
	}
	return y
}

// rotateRow turns a row: alpha holds the cosines and shift the sines.
func rotateRow(op *rowOp, i int) {
	at := int(op.index[i])
	cos, sin := op.alpha.Row(at), op.shift.Row(at)
	half := len(cos)
	for c := 0; c < op.x.Cols; c += 2 * half {
		x, y := op.x.Row(i)[c:][:2*half], op.dst.Row(i)[c:][:2*half]
		kernel.Rotate(y[:half], y[half:], x[:half], x[half:], cos, sin)
	}
}
