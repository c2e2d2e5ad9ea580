package train

import "github.com/tokencache/tokencache/tensor"

// Task is what a Loop trains: parameters, and an endless sequence of examples that give them gradients. Example k is the same whenever it is
// asked for, so that a run resumes in the middle of an epoch by its number of examples alone.
type Task interface {
	// Params lists the parameters that are trained.
	Params() []*tensor.Param
	// Accumulate adds to the parameters' gradients those of the losses of examples first to first+count-1, each times scale. It returns the
	// sum of each of Measures over the examples. Nothing is returned or added if g was cancelled.
	Accumulate(g *tensor.Graph, first int64, count int, scale float64) ([]float64, error)
	// Measures names what Accumulate returns; the first is the loss.
	Measures() []string
	// Changed tells the task that the parameters have new values.
	Changed()
	// Tensors lists every tensor of the finished model, parameters and others, with their shapes, and Metadata goes into its file.
	Tensors() []Tensor
	Metadata() (map[string]string, error)
}

// Tensor is a tensor of a model's file. Its Values are nil if it is the parameter of that name.
type Tensor struct {
	Name   string
	Shape  []int
	Values []float32
}
