package train

import "fmt"

// Optimizers are the values of Settings.Optimizer.
var Optimizers = []string{"adamw", "muon"}

// optimizer changes parameters by their gradients.
type optimizer interface {
	// Update takes one step at learning rate lr.
	Update(lr float64)
	// resume says that steps have been taken, by an optimizer of these moments.
	resume(steps int)
	// moments returns the arrays that the next step depends on, by their names in a State.
	moments() map[string][]float32
}

// newOptimizer returns the optimizer of a task that settings name.
func newOptimizer(task Task, s Settings) (optimizer, error) {
	if s.Optimizer != Optimizers[1] {
		return NewAdamW(task.Params(), s.Decay), nil
	}
	blocks, ok := task.(BlockTask)
	if !ok {
		return nil, fmt.Errorf("this kind of training has no optimizer but adamw: got %s", s.Optimizer)
	}
	return NewMuon(task.Params(), blocks.BlockWeights(), s.Decay), nil
}
