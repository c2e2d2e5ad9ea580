package train

import "github.com/tokencache/tokencache/tensor"

// Task is what a Loop trains: parameters, and an endless sequence of examples that give them
// gradients. Example k is always the same, so that a run resumes in the middle of an epoch from its
// number of examples alone.
type Task interface {
	// Params lists the parameters that are trained.
	Params() []*tensor.Param
	// Accumulate adds scale times the gradients of the losses of examples first to first+count-1 to
	// the parameters' gradients, and returns the sum of each of Measures over the examples. It
	// fails if g was cancelled.
	Accumulate(g *tensor.Graph, first int64, count int, scale float64) ([]float64, error)
	// Measures names what Accumulate returns; the first is the loss.
	Measures() []string
	// Changed tells the task that the parameters have new values.
	Changed()
	// Tensors lists every tensor of the finished model, parameters and others, with their shapes.
	Tensors() []ModelTensor
	// Metadata returns the metadata of the finished model's file.
	Metadata() (map[string]string, error)
}

// BlockTask is a Task of a model of blocks, whose linear maps Settings.DType and Settings.Optimizer
// are about.
type BlockTask interface {
	Task
	// BlockWeights lists the linear maps of the blocks, all of them trainable.
	BlockWeights() []*tensor.Weight
}

// ModelTensor is a tensor of a model's file. Values are nil for the parameter of that name.
type ModelTensor struct {
	Name   string
	Shape  []int
	Values []float32
}
