package tensor

import "fmt"

// Param is a trainable array and its gradient, which backward passes add to.
type Param struct {
	Name  string
	Value []float32
	Grad  []float32 // nil if the parameter is frozen
}

// tape is what Backward has to do, in the order that the operations ran. It keeps the operations' inputs and results alive.
type tape struct{ back []func() }

// StartTape makes the operations that follow record how to go back through them. Memory is then kept until Reset: Release does
// nothing while the tape records.
func (g *Graph) StartTape() { g.tape = &tape{} }

// Training reports whether a tape records.
func (g *Graph) Training() bool { return g.tape != nil }

// Backward goes back through everything recorded, adding to the gradients of the parameters, and ends the recording. The gradients of
// results that the loss depends on were given by AddGrad.
func (g *Graph) Backward() {
	back := g.tape.back
	g.tape = nil
	for i := len(back) - 1; i >= 0; i-- {
		back[i]()
	}
}

// Want marks t, an input, as one whose gradient is needed.
func (g *Graph) Want(t *Tensor) { t.wanted = true }

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

// AddGrad adds d to the gradient of t.
func (g *Graph) AddGrad(t, d *Tensor) {
	mustMatch("gradient", d, t.Rows, t.Cols)
	if !t.wanted {
		return
	}
	g.addInto(g.Grad(t), d)
}

// passGrad gives t the gradient d, which nothing else needs any more: without a copy if t has none yet.
func (g *Graph) passGrad(t, d *Tensor) {
	switch {
	case !t.wanted:
	case t.grad == nil && t.base == nil:
		t.grad = d
	default:
		g.addInto(g.Grad(t), d)
	}
}

// record marks y as depending on something whose gradient is needed and notes how to go back through the operation that made it. back is
// not called if nothing that the loss depends on came of y.
func (g *Graph) record(y *Tensor, back func(dy *Tensor)) {
	y.wanted = true
	g.tape.back = append(g.tape.back, func() {
		if y.grad != nil {
			back(y.grad)
		}
	})
}

// recording reports whether an operation on these inputs has to be recorded.
func (g *Graph) recording(inputs ...*Tensor) bool {
	if g.tape == nil {
		return false
	}
	for _, t := range inputs {
		if t != nil && t.wanted {
			return true
		}
	}
	return false
}

// mustNotRecord is for operations that have no way back: they are used in inference only.
func (g *Graph) mustNotRecord(what string, inputs ...*Tensor) {
	if g.recording(inputs...) {
		panic(fmt.Sprintf("tensor: there is no way back through %s", what))
	}
}

// Leaf returns p's value as a rows x cols matrix whose gradient is p's.
func (p *Param) Leaf(rows, cols int) *Tensor {
	t := FromSlice(p.Value, rows, cols)
	if p.Grad != nil {
		t.wanted, t.grad = true, FromSlice(p.Grad, rows, cols)
	}
	return t
}
