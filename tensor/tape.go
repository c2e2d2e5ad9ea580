package tensor

import "fmt"

// Param is a trainable array and its gradient, which backward passes add to.
type Param struct {
	Name  string
	Value []float32
	Grad  []float32 // nil if the parameter is frozen
}

// tape holds the backward functions of the operations that ran, in their order.
type tape struct{ backward []func() }

// StartTape makes the operations that follow record their backward passes. Memory is then kept
// until Reset: Release does nothing while the tape records.
func (g *Graph) StartTape() { g.tape = &tape{} }

// Training reports whether a tape records.
func (g *Graph) Training() bool { return g.tape != nil }

// Backward runs the backward pass of everything recorded, which adds to the gradients of the
// parameters, and ends the recording. It starts from the gradients that AddGrad gave to results.
func (g *Graph) Backward() {
	backward := g.tape.backward
	g.tape = nil
	for i := len(backward) - 1; i >= 0; i-- {
		backward[i]()
	}
	g.spare.clear()
}

// spareGrads are gradients of results whose backward pass is over: their memory, which is in the
// cache, becomes that of other results' gradients.
type spareGrads struct {
	list   []*Tensor
	now    *Tensor // the gradient whose backward pass runs
	passed bool    // it has become that of another result: see passGrad
}

func (s *spareGrads) clear() {
	clear(s.list)
	s.list, s.now = s.list[:0], nil
}

// newGrad returns a matrix of unspecified content for a gradient.
func (g *Graph) newGrad(rows, cols int) *Tensor {
	list := g.spare.list
	for i := len(list) - 1; i >= 0; i-- {
		if t := list[i]; t.Rows == rows && t.Cols == cols {
			g.spare.list = append(list[:i], list[i+1:]...)
			return t
		}
	}
	return g.New(rows, cols)
}

// RequireGrad marks an input t, so that operations on it are recorded and Backward computes its
// gradient.
func (g *Graph) RequireGrad(t *Tensor) { t.requiresGrad = true }

// Grad returns the gradient of t, zeros if nothing was added to it yet. It lives in g's memory.
func (g *Graph) Grad(t *Tensor) *Tensor {
	if t.grad == nil {
		if t.base != nil {
			all := g.Grad(t.base)
			t.grad = g.header(all.from(t.row)[t.col:], t.Rows, t.Cols, all.Stride)
		} else {
			t.grad = g.newGrad(t.Rows, t.Cols)
			clear(t.grad.Data)
		}
	}
	return t.grad
}

// AddGrad adds d to the gradient of t, if t requires one.
func (g *Graph) AddGrad(t, d *Tensor) {
	mustMatch("gradient", d, t.Rows, t.Cols)
	if !t.requiresGrad {
		return
	}
	to, fresh := g.gradToSet(t)
	if fresh {
		g.byRow(rowOp{x: d, row: func(op *rowOp, i int) { copy(op.dst.Row(i), op.x.Row(i)) }}, to)
	} else {
		g.addInto(to, d)
	}
}

// gradToSet returns the gradient of t to add to. If it is fresh, its content is unspecified: every
// element must be set instead.
func (g *Graph) gradToSet(t *Tensor) (grad *Tensor, fresh bool) {
	if t.grad == nil && t.base == nil {
		t.grad = g.newGrad(t.Rows, t.Cols)
		return t.grad, true
	}
	return g.Grad(t), false
}

// passGrad adds d, which nothing else uses afterwards, to the gradient of t: without a copy if t
// has none yet.
func (g *Graph) passGrad(t, d *Tensor) {
	switch {
	case !t.requiresGrad:
	case t.grad == nil && t.base == nil:
		t.grad = d
		g.spare.passed = g.spare.passed || d == g.spare.now
	default:
		g.addInto(g.Grad(t), d)
	}
}

// record notes the backward pass of the operation that made y, which then requires a gradient too.
// backward is not called if the loss does not depend on y.
func (g *Graph) record(y *Tensor, backward func(dy *Tensor)) {
	y.requiresGrad = true
	g.tape.backward = append(g.tape.backward, func() {
		d := y.grad
		if d == nil {
			return
		}
		g.spare.now, g.spare.passed = d, false
		backward(d)
		if !g.spare.passed && y.base == nil && !y.inPlace && d.Contiguous() {
			y.grad = nil
			g.spare.list = append(g.spare.list, d)
		}
	})
}

// recording reports whether an operation on these inputs must be recorded.
func (g *Graph) recording(inputs ...*Tensor) bool {
	if g.tape == nil {
		return false
	}
	for _, t := range inputs {
		if t != nil && t.requiresGrad {
			return true
		}
	}
	return false
}

// mustNotRecord panics if an input of an operation without a backward pass requires a gradient.
func (g *Graph) mustNotRecord(what string, inputs ...*Tensor) {
	if g.recording(inputs...) {
		panic(fmt.Sprintf("tensor: %s has no backward pass", what))
	}
}

// Leaf returns p's value as a rows x cols matrix whose gradient is p's.
func (p *Param) Leaf(rows, cols int) *Tensor {
	t := FromSlice(p.Value, rows, cols)
	if p.Grad != nil {
		t.requiresGrad, t.grad = true, FromSlice(p.Grad, rows, cols)
	}
	return t
}
