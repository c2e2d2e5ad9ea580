package train

import (
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/tensor"
)

// Schedules are the values of Settings.Schedule.
var Schedules = []string{"constant", "cosine"}

// Settings says how a Loop trains. They are kept in the run's state.
type Settings struct {
	Steps    int     `json:"steps"`        // updates in all
	Batch    int     `json:"batch"`        // examples of an update
	Micro    int     `json:"micro_batch"`  // examples of a forward pass
	LR       float64 `json:"lr"`           // learning rate after the warm-up
	Warmup   int     `json:"warmup"`       // updates over which the rate rises to LR
	Schedule string  `json:"schedule"`     // constant, or cosine: from LR to LR/100 at Steps
	Decay    float64 `json:"weight_decay"` // of the parameters, decoupled from the gradient
	Clip     float64 `json:"clip"`         // maximum norm of the gradient; 0: unlimited
	EMA      float64 `json:"ema"`          // decay of the average; at most (1+step)/(10+step)

	// Optimizer is adamw, which "" means too, or muon: see Muon.
	Optimizer string `json:"optimizer,omitempty"`

	// DType is the number format of the products of the blocks' linear maps, forward and backward: f32,
	// which "" means too, or bf16. Parameters, gradients and sums are float32 in either.
	DType string `json:"dtype,omitempty"`
}

// Validate returns an error for settings that nothing can be trained with.
func (s Settings) Validate() error {
	switch {
	case s.Steps < 1:
		return fmt.Errorf("%d training steps: want 1 or more", s.Steps)
	case s.Batch < 1 || s.Micro < 1:
		return fmt.Errorf("batch of %d, %d at a time: want 1 or more", s.Batch, s.Micro)
	case !(s.LR > 0) || math.IsInf(s.LR, 0):
		return fmt.Errorf("learning rate %g: want a positive number", s.LR)
	case s.Warmup < 0:
		return fmt.Errorf("warm-up of %d steps: want 0 or more", s.Warmup)
	case s.Schedule != Schedules[0] && s.Schedule != Schedules[1]:
		return fmt.Errorf("schedule %q: want one of %v", s.Schedule, Schedules)
	case !(s.Decay >= 0) || !(s.Clip >= 0):
		return fmt.Errorf("weight decay %g, clip %g: want 0 or more", s.Decay, s.Clip)
	case !(s.EMA >= 0 && s.EMA < 1):
		return fmt.Errorf("EMA decay %g: want 0 or more and less than 1", s.EMA)
	case s.Optimizer != "" && !slices.Contains(Optimizers, s.Optimizer):
		return fmt.Errorf("optimizer %q: want one of %v", s.Optimizer, Optimizers)
	case s.DType != "" && s.DType != tensor.F32.String() && s.DType != tensor.BF16.String():
		return fmt.Errorf("number format %q of training: want %v or %v", s.DType, tensor.F32, tensor.BF16)
	}
	return nil
}

// ValidateFor is Validate for a number of steps that the settings do not have yet.
func (s Settings) ValidateFor(steps int) error {
	s.Steps = steps
	return s.Validate()
}

// rate returns the learning rate of update number step, counted from 0.
func (s Settings) rate(step int) float64 {
	if step < s.Warmup {
		return s.LR * float64(step+1) / float64(s.Warmup)
	}
	if s.Schedule == "constant" {
		return s.LR
	}
	const floor = 0.01
	done := float64(step-s.Warmup) / float64(max(s.Steps-s.Warmup, 1))
	return s.LR * (floor + (1-floor)*0.5*(1+math.Cos(math.Pi*min(done, 1))))
}

// emaDecay returns the decay of the moving average after update number step.
func (s Settings) emaDecay(step int) float64 { return min(s.EMA, float64(1+step)/float64(10+step)) }
