package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
)

// A run's folder holds these files.
const (
	StateFile = "state.safetensors" // a State, weights, their average, and the optimiser's
	ModelFile = "model.safetensors" // the averaged weights, as a model file
	LogFile   = "log.jsonl"         // a StepStats in each line
)

// stateKey is the metadata key of a State in StateFile.
const stateKey = "train"

// State is the state of a run apart from its tensors.
type State struct {
	Settings Settings   `json:"settings"`
	Step     int        `json:"step"` // updates made
	Note     string     `json:"note"` // see Loop.Note
	Watch    [3]float64 // mean and best loss, and their number of updates
}

// The prefixes of the names of a state's tensors.
const (
	valuePrefix = "value."
	emaPrefix   = "ema."
	mPrefix     = "adamw.m."
	vPrefix     = "adamw.v."
	muonPrefix  = "muon.m."
)

// arrays lists the arrays of a state by their names.
func (l *Loop) arrays() (names []string, arrays map[string][]float32) {
	arrays = l.optimizer.moments()
	for i, p := range l.task.Params() {
		arrays[valuePrefix+p.Name], arrays[emaPrefix+p.Name] = p.Value, l.ema.Values[i]
	}
	return slices.Sorted(maps.Keys(arrays)), arrays
}

// save writes log, model and state, in this order, each whole or not at all: the log of a state is
// never shorter than the state says, and lines of later updates are dropped when the run resumes.
func (l *Loop) save(r StepStats) error {
	if l.Dir == "" {
		return nil
	}
	if err := l.log.sync(); err != nil {
		return err
	}
	if err := l.writeModel(filepath.Join(l.Dir, ModelFile)); err != nil {
		return err
	}
	text, err := json.Marshal(State{
		Settings: l.Settings,
		Step:     l.step,
		Note:     l.Note,
		Watch:    [3]float64{l.watch.mean, l.watch.best, float64(l.watch.seen)},
	})
	if err != nil {
		return err
	}
	names, arrays := l.arrays()
	c := content(names, func(name string) ([]int, []float32) { return []int{len(arrays[name])}, arrays[name] })
	c.Metadata = map[string]string{stateKey: string(text)}
	if err := checkpoint.WriteSafetensors(filepath.Join(l.Dir, StateFile), c); err != nil {
		return err
	}
	if l.OnSave != nil {
		return l.OnSave(r)
	}
	return nil
}

// writeModel writes the averaged weights.
func (l *Loop) writeModel(path string) error {
	byName := map[string]ModelTensor{}
	var names []string
	for _, t := range l.task.Tensors() {
		names = append(names, t.Name)
		byName[t.Name] = t
	}
	for i, p := range l.task.Params() {
		t, ok := byName[p.Name]
		if !ok {
			return fmt.Errorf("parameter %s is not a tensor of the model", p.Name)
		}
		t.Values = l.ema.Values[i]
		byName[p.Name] = t
	}
	c := content(names, func(name string) ([]int, []float32) { return byName[name].Shape, byName[name].Values })
	var err error
	if c.Metadata, err = l.task.Metadata(); err != nil {
		return err
	}
	return checkpoint.WriteSafetensors(path, c)
}

func content(names []string, find func(name string) (shape []int, values []float32)) checkpoint.Content {
	c := checkpoint.Content{Read: func(name string, dst []float32) error {
		_, values := find(name)
		if len(values) != len(dst) {
			return fmt.Errorf("tensor %s has %d values, want %d", name, len(values), len(dst))
		}
		copy(dst, values)
		return nil
	}}
	for _, name := range names {
		shape, _ := find(name)
		c.Tensors = append(c.Tensors, checkpoint.Info{Name: name, DType: checkpoint.F32, Shape: shape})
	}
	return c
}

// ReadState returns the state of the run in dir.
func ReadState(dir string) (State, error) {
	f, p, err := openState(dir)
	if err != nil {
		return p, err
	}
	return p, f.Close()
}

func openState(dir string) (*checkpoint.File, State, error) {
	var p State
	path := filepath.Join(dir, StateFile)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, p, fmt.Errorf("%s: no training run to resume: there is no %s in it", dir, StateFile)
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, p, err
	}
	text := f.Metadata()[stateKey]
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		f.Close()
		return nil, p, fmt.Errorf("%s: metadata %s: %w", path, stateKey, err)
	}
	if p.Step < 0 {
		f.Close()
		return nil, p, fmt.Errorf("%s: metadata %s: update %d, want 0 or more", path, stateKey, p.Step)
	}
	return f, p, nil
}

// Resume loads the state of the run in the Loop's folder, which Run then continues.
func (l *Loop) Resume() error {
	f, p, err := openState(l.Dir)
	if err != nil {
		return err
	}
	defer f.Close()
	names, arrays := l.arrays()
	var wants []checkpoint.Want
	for _, name := range names {
		wants = append(wants, checkpoint.Want{Name: name, Shape: []int{len(arrays[name])}})
	}
	if err := checkpoint.Check(f, wants, nil); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	for _, name := range names {
		if err := f.Read(name, arrays[name]); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	l.step = p.Step
	l.optimizer.resume(p.Step)
	l.watch = watch{mean: p.Watch[0], best: p.Watch[1], seen: int(p.Watch[2])}
	l.task.Changed()
	return nil
}
