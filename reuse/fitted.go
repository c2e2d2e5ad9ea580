package reuse

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/tensor"
)

// Schedule is a calibrated SmoothCache.
type Schedule struct {
	Threshold float64          `json:"threshold"` // that the schedule was made for
	Compute   map[string][]int `json:"compute"`   // see SmoothCache
}

// String returns the method with its threshold; the schedule is in the policy's folder.
func (s *Schedule) String() string { return fmt.Sprintf("smoothcache:threshold=%g", s.Threshold) }

var scheduleKey = regexp.MustCompile(`^(?:attn|mlp)(?:-([0-9]{1,4}))?$`)

// Validate reports a schedule that has no meaning.
func (s *Schedule) Validate() error {
	if len(s.Compute) == 0 {
		return errors.New("smoothcache: no schedule: want lists for attn and mlp, or for attn-0, mlp-0 and so on")
	}
	for key, list := range s.Compute {
		if !scheduleKey.MatchString(key) {
			return fmt.Errorf("smoothcache: a schedule for %q: want attn, mlp, or a block's attn-0, mlp-0 and so on", key)
		}
		for _, v := range list {
			if v != 0 && v != 1 {
				return fmt.Errorf("smoothcache: the schedule for %s has a %d: want 1 at the steps that compute, 0 at the others", key, v)
			}
		}
	}
	return nil
}

// NewRun implements Policy.
func (s *Schedule) NewRun(g *tensor.Graph, m *dit.Model, plan Plan, samples int, limit int64) (Run, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	for key, list := range s.Compute {
		if found := scheduleKey.FindStringSubmatch(key); found[1] != "" {
			if block, err := strconv.Atoi(found[1]); err != nil || block >= len(m.Blocks) {
				return nil, fmt.Errorf("smoothcache: a schedule for %s, but the model has %d blocks", key, len(m.Blocks))
			}
		}
		if len(list) > plan.Steps() {
			return nil, fmt.Errorf("smoothcache: the schedule for %s is of %d steps, the plan of %d", key, len(list), plan.Steps())
		}
	}
	return SmoothCache(s.Compute, len(m.Blocks), plan.Steps()).NewRun(g, m, plan, samples, limit)
}

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

// NewRun implements Policy.
func (r *Routers) NewRun(g *tensor.Graph, m *dit.Model, plan Plan, samples int, limit int64) (Run, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return LearningToCache(r.Logits, r.Threshold).NewRun(g, m, plan, samples, limit)
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
