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
			t.grad = g.New(t.Rows, t.Cols)
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
		t.grad = g.New(t.Rows, t.Cols)
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
	default:
		g.addInto(g.Grad(t), d)
	}
}

// record notes the backward pass of the operation that made y, which then requires a gradient too.
// backward is not called if the loss does not depend on y.
func (g *Graph) record(y *Tensor, backward func(dy *Tensor)) {
	y.requiresGrad = true
	g.tape.backward = append(g.tape.backward, func() {
		if y.grad != nil {
			backward(y.grad)
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
