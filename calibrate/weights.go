package calibrate

import (
	"errors"

	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/train"
)

// Weights are those of a model, opened once more for work outside the engine.
type Weights interface {
	nn.Source
	Load() (seam.Model, error)   // to run it
	Frozen() (seam.Model, error) // to go back through it
	Close() error
}

// weightsOf are the weights of a kind of model.
type weightsOf[M seam.Model] interface {
	nn.Source
	Load() (M, error)
	Frozen() (M, error)
	Close() error
}

// WeightsOf returns opened weights, such as *dit.Weights or *minit2i.Weights, as Weights, or the
// error of opening them.
func WeightsOf[M seam.Model](w weightsOf[M], err error) (Weights, error) {
	if err != nil {
		return nil, err
	}
	return anyWeights[M]{w}, nil
}

type anyWeights[M seam.Model] struct{ weightsOf[M] }

func (w anyWeights[M]) Load() (seam.Model, error)   { return asModel(w.weightsOf.Load()) }
func (w anyWeights[M]) Frozen() (seam.Model, error) { return asModel(w.weightsOf.Frozen()) }

// asModel returns a model without a nil pointer in it where there is an error.
func asModel[M seam.Model](m M, err error) (seam.Model, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// frozen opens the model to go back through it, and makes the conditions of trajectories its own.
func (m *maker) frozen(t *train.Trajectories) (seam.Model, Weights, error) {
	w, err := m.Open()
	if err != nil {
		return nil, nil, err
	}
	model, err := w.Frozen()
	if err == nil {
		t.Cond, err = seam.Adopt(model, t.Cond)
	}
	if err != nil {
		return nil, nil, errors.Join(err, w.Close())
	}
	return model, w, nil
}
