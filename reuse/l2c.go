package reuse

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/seam"
)

// Routers is a trained Learning-to-Cache.
type Routers struct {
	Threshold float64 `json:"threshold"` // a branch is computed where the sigmoid of its logit is above it

	Logits [][]float32 `json:"-"` // see LearningToCache
	path   string
}

// String returns the policy as Parse takes it, if its file is known.
func (r *Routers) String() string {
	text := fmt.Sprintf("l2c:threshold=%g", r.Threshold)
	if r.path != "" {
		text += ",router=" + r.path
	}
	return text
}

// Set changes one parameter.
func (r *Routers) Set(key, value string) error {
	switch key {
	case "threshold":
		t, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("l2c: threshold=%s: not a value of that parameter", value)
		}
		r.Threshold = t
		return nil
	case "router":
		f, err := checkpoint.Open(value)
		if err != nil {
			return fmt.Errorf("l2c: %w", err)
		}
		defer f.Close()
		r.Logits, err = ReadRouters(f)
		r.path = value
		return err
	}
	return fmt.Errorf("l2c has no parameter %q: want router or threshold", key)
}

// Validate reports parameters that have no meaning.
func (r *Routers) Validate() error {
	switch {
	case !(r.Threshold >= 0 && r.Threshold <= 1):
		return fmt.Errorf("l2c: threshold=%g: want 0 to 1", r.Threshold)
	case len(r.Logits) == 0:
		return errors.New("l2c: no routers: give the file of trained ones with router=FILE, or the folder that calibrate --method l2c makes as the policy")
	}
	return nil
}

// CacheBytes implements Policy.
func (r *Routers) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	if err := r.Validate(); err != nil {
		return 0, err
	}
	return LearningToCache(r.Logits, r.Threshold).CacheBytes(m, plan, samples)
}

// NewRun implements Policy.
func (r *Routers) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return LearningToCache(r.Logits, r.Threshold).NewRun(m, plan, samples)
}

// routersTensor is the name of the logits in PredictorFile, [steps, 2*blocks].
const routersTensor = "routers"

// Write writes the routers to a safetensors file.
func (r *Routers) Write(path string) error {
	return checkpoint.WriteSafetensors(path, checkpoint.Content{
		Tensors: []checkpoint.Info{{Name: routersTensor, DType: checkpoint.F32, Shape: []int{len(r.Logits), len(r.Logits[0])}}},
		Read: func(_ string, dst []float32) error {
			for i, row := range r.Logits {
				copy(dst[i*len(row):], row)
			}
			return nil
		},
	})
}

// ReadRouters reads the logits of trained routers, by steps that count down, in either form: one tensor routers, [steps, 2*blocks], as Write writes it, or a tensor routers.STEP.prob or
// STEP.prob for each step, as the method's own code saves them.
func ReadRouters(f *checkpoint.File) ([][]float32, error) {
	const mostSteps, mostBranches = 1000, 1 << 12
	if info, ok := f.Lookup(routersTensor); ok {
		if len(info.Shape) != 2 || info.Shape[0] < 1 || info.Shape[0] > mostSteps || info.Shape[1] < 1 || info.Shape[1] > mostBranches {
			return nil, fmt.Errorf("%s: tensor %s has shape %v, want [steps, 2*blocks]", f.Path, routersTensor, info.Shape)
		}
		all, err := f.Float32(routersTensor)
		if err != nil {
			return nil, err
		}
		var list [][]float32
		for i := range info.Shape[0] {
			list = append(list, all[i*info.Shape[1]:(i+1)*info.Shape[1]])
		}
		return list, checkLogits(f.Path, list)
	}
	prefix := routersTensor + "."
	if _, ok := f.Lookup("0.prob"); ok {
		prefix = ""
	}
	var list [][]float32
	for i := range mostSteps {
		name := fmt.Sprintf("%s%d.prob", prefix, i)
		info, ok := f.Lookup(name)
		if !ok {
			break
		}
		if n := info.Len(); n < 1 || n > mostBranches || i > 0 && n != len(list[0]) {
			return nil, fmt.Errorf("%s: tensor %s has shape %v, want a number for each branch, as many in every tensor", f.Path, name, info.Shape)
		}
		row, err := f.Float32(name)
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no routers: looked for the tensors %s, %s.0.prob and 0.prob", f.Path, routersTensor, routersTensor)
	}
	return list, checkLogits(f.Path, list)
}

func checkLogits(path string, list [][]float32) error {
	for i, row := range list {
		for _, v := range row {
			if math.IsNaN(float64(v)) {
				return fmt.Errorf("%s: a logit of step %d is not a number", path, i)
			}
		}
	}
	return nil
}

// LearningToCache returns the policy of trained routers ("Learning-to-Cache: Accelerating Diffusion Transformer via Layer Caching", arXiv 2406.01733), logits [steps][2*blocks], by steps that
// count down from T-1: at odd steps all is computed; at even ones a branch is where the sigmoid of its logit is above threshold.
func LearningToCache(logits [][]float32, threshold float64) *Fixed {
	f := &Fixed{Method: "l2c"}
	for p := range logits {
		step := len(logits) - 1 - p
		row := make([]bool, len(logits[step]))
		for i, logit := range logits[step] {
			row[i] = step%2 == 1 || 1/(1+math.Exp(-float64(logit))) > threshold
		}
		f.Compute = append(f.Compute, row)
	}
	return f
}
