package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// The inputs of all subjects, equal to those of networks.py.
const (
	samples = 2
	class   = 207
	time500 = 500
	words   = 20 // of MiniT2I's prompt
)

// forward computes a subject's output in g's memory.
type forward func(g *tensor.Graph) *tensor.Tensor

// newSubject makes a subject of the given name, with weights from package formula, in a number
// format.
func newSubject(g *tensor.Graph, name string, d tensor.DType) (forward, error) {
	architectures := map[string]string{
		"block-s":  "DiT-S/2",
		"block-xl": "DiT-XL/2",
		"dit-s-2":  "DiT-S/2",
		"dit-xl-2": "DiT-XL/2",
	}
	if name == "minit2i-b16" {
		return newMiniT2I(g, d)
	}
	arch, ok := architectures[name]
	if !ok {
		return nil, fmt.Errorf("unknown subject %q", name)
	}
	c, err := dit.Official(arch, 32)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(name, "block") {
		return newBlock(c, d)
	}
	return newDiT(c, d)
}

func newBlock(c dit.Config, d tensor.DType) (forward, error) {
	l := nn.NewLoader(source(c.Tensors()))
	l.SetDType(d)
	block := dit.LoadBlock(l, "blocks.0.", c)
	if err := l.Err(); err != nil {
		return nil, err
	}
	x := input("input.x", math.Sqrt(3), samples*c.Tokens(), c.Hidden)
	cond := input("input.c", 1, samples, c.Hidden)
	rows := tensor.Uniform(samples, c.Tokens())
	return func(g *tensor.Graph) *tensor.Tensor {
		in := &seam.Tokens{X: g.Copy(x), Rows: rows, C: cond} // a block works in place
		return block.Forward(g, seam.Always, 0, in).X
	}, nil
}

func newDiT(c dit.Config, d tensor.DType) (forward, error) {
	m, err := dit.NewAs(d, c, source(c.Tensors()), false)
	if err != nil {
		return nil, err
	}
	b := &seam.Batch{
		X:    input("input.x", math.Sqrt(3), samples, c.InChannels*c.InputSize*c.InputSize),
		T:    []float32{time500, time500},
		Cond: []seam.Condition{dit.Class(class), m.NullCondition()},
	}
	return func(g *tensor.Graph) *tensor.Tensor { return m.Forward(g, seam.Always, b) }, nil
}

// newMiniT2I makes both branches of guidance of a step of MiniT2I-B/16 at 512 pixels, for a prompt
// that is prepared.
func newMiniT2I(g *tensor.Graph, d tensor.DType) (forward, error) {
	c := minit2i.MiniT2IB16()
	m, err := minit2i.NewAs(d, c, source(c.Tensors()))
	if err != nil {
		return nil, err
	}
	real := make([]bool, c.TextTokens)
	for i := range words {
		real[i] = true
	}
	g.Reset()
	prompt, err := m.Prompt(g, input("input.text", 0.5, c.TextTokens, c.TextWidth), real)
	if err != nil {
		return nil, err
	}
	pixels := 3 * c.ImageSize * c.ImageSize
	x := tensor.FromSlice(make([]float32, samples*pixels), samples, pixels)
	formula.Uniform("input.x", 0, 2, x.Row(0))
	copy(x.Row(1), x.Row(0))
	b := &seam.Batch{
		X:             x,
		T:             []float32{0, 0},
		Cond:          []seam.Condition{prompt, m.NullCondition()},
		Unconditional: []int{1, -1},
	}
	return func(g *tensor.Graph) *tensor.Tensor { return m.Forward(g, seam.Always, b) }, nil
}

func source(wants []checkpoint.Want) *formula.Source {
	src := new(formula.Source)
	for _, w := range wants {
		if w.Name != "pos_embed" { // it is computed
			src.Add(w.Name, w.Shape...)
		}
	}
	return src
}

// input is a tensor of numbers in ±scale that follow from its name.
func input(name string, scale float64, rows, cols int) *tensor.Tensor {
	t := tensor.FromSlice(make([]float32, rows*cols), rows, cols)
	formula.Uniform(name, 0, scale, t.Data)
	return t
}
