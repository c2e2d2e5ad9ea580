package tensor

import "github.com/tokencache/tokencache/internal/kernel"

// SplitRows divides the rows of x among a first matrix, of the given number of rows, and a second:
// row i of x becomes row index[i] of the first or, where index[i] is negative, row -1-index[i] of
// the second. Every row of both must be one of x's.
func (g *Graph) SplitRows(x *Tensor, index []int32, rows int) (first, second *Tensor) {
	a, b := g.New(rows, x.Cols), g.New(x.Rows-rows, x.Cols)
	g.byRow(rowOp{x: a, y: b, index: index, row: func(op *rowOp, i int) {
		copy(eitherRow(op.x, op.y, op.index[i]), op.dst.Row(i))
	}}, x)
	if g.recording(x) {
		a.requiresGrad, b.requiresGrad = true, true
		g.tape.backward = append(g.tape.backward, func() {
			if a.grad != nil || b.grad != nil {
				dx, fresh := g.gradToSet(x)
				g.eachJoined(g.Grad(a), g.Grad(b), index, func(row []float32, i int) { giveRow(dx.Row(i), row, fresh) })
			}
		})
	}
	return a, b
}

// JoinRows is the inverse of SplitRows: row i is row index[i] of a or row -1-index[i] of b. Every
// row of either must occur once: see Merge for others.
func (g *Graph) JoinRows(a, b *Tensor, index []int32) *Tensor {
	mustMatch("second source of rows", b, len(index)-a.Rows, a.Cols)
	y := g.New(len(index), a.Cols)
	g.byRow(rowOp{x: a, y: b, index: index, row: func(op *rowOp, i int) {
		copy(op.dst.Row(i), eitherRow(op.x, op.y, op.index[i]))
	}}, y)
	if g.recording(a, b) {
		g.record(y, func(dy *Tensor) {
			da, freshA := g.gradToSet(a)
			db, freshB := g.gradToSet(b)
			g.eachJoined(da, db, index, func(row []float32, i int) {
				giveRow(row, dy.Row(i), freshA && index[i] >= 0 || freshB && index[i] < 0)
			})
		})
	}
	return y
}

// eitherRow returns row i of a or, of a negative i, row -1-i of b.
func eitherRow(a, b *Tensor, i int32) []float32 {
	if i >= 0 {
		return a.Row(int(i))
	}
	return b.Row(int(-1 - i))
}

// eachJoined calls f with each number of a row and the row that it is of a or b.
func (g *Graph) eachJoined(a, b *Tensor, index []int32, f func(row []float32, i int)) {
	g.EachRow(len(index), a.Cols, func(i int) { f(eitherRow(a, b, index[i]), i) })
}

// giveRow sets a row of a gradient, or adds to it.
func giveRow(to, from []float32, set bool) {
	if set {
		copy(to, from)
	} else {
		kernel.Add(to, to, from)
	}
}
