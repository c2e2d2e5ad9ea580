package minit2i

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/tensor"
)

// Options gives what a checkpoint may leave open.
type Options struct {
	Key string // which of several sets of weights to take: see checkpoint.OpenOptions
}

// Weights is an opened checkpoint of a MiniT2I.
type Weights struct {
	Config
	File *checkpoint.File
	Dir  string // the folder of the weights, in which the model's other parts are looked for

	// DType is the number format of the model that Load makes; trainable ones are float32.
	DType tensor.DType
}

// Known reports whether tensors of these names are a MiniT2I's: it is recognized by its joint
// blocks.
func Known(names []string) bool {
	for _, name := range names {
		if strings.HasPrefix(name, prefix+"double_blocks.0.img_") {
			return true
		}
	}
	return false
}

// Found reports whether there is a MiniT2I at path, as Open takes it, by its config.json or, of a
// file, the names of its tensors.
func Found(path string) bool {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		if !strings.EqualFold(filepath.Ext(path), ".safetensors") {
			return false
		}
		f, err := checkpoint.Open(path)
		if err != nil {
			return false
		}
		defer f.Close()
		return Known(f.Names())
	}
	for _, pattern := range []string{"config.json", "transformer/config.json", "*/transformer/config.json"} {
		files, err := filepath.Glob(filepath.Join(path, filepath.FromSlash(pattern)))
		if err != nil || len(files) == 0 {
			continue
		}
		var c struct {
			Depth int `json:"depth_double"`
		}
		text, err := checkpoint.ReadText(files[0])
		return err == nil && json.Unmarshal(text, &c) == nil && c.Depth > 0
	}
	return false
}

// Open opens the weights at path: a file with its config.json beside it or in its metadata, the
// folder of both, or a pipeline's folder, which has them in transformer or in a variant's folder.
// A missing, unexpected or misshapen tensor is an error. When ctx ends, it fails soon.
func Open(ctx context.Context, path string, o Options) (*Weights, error) {
	w, err := open(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	return w, nil
}

func open(ctx context.Context, path string, o Options) (*Weights, error) {
	file, err := locate(path)
	if err != nil {
		return nil, err
	}
	f, err := checkpoint.OpenContext(ctx, file, checkpoint.OpenOptions{Key: o.Key})
	if err != nil {
		return nil, err
	}
	w, err := FromFile(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// locate returns the file of weights at path.
func locate(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", errors.Unwrap(err)
	}
	if !info.IsDir() {
		return path, nil
	}
	folders := []string{path, filepath.Join(path, "transformer")}
	variants, err := filepath.Glob(filepath.Join(path, "*", "transformer"))
	if err != nil {
		return "", err
	}
	if len(variants) > 1 {
		var names []string
		for _, v := range variants {
			names = append(names, filepath.Base(filepath.Dir(v)))
		}
		return "", fmt.Errorf("the folder holds several variants: name one of %s", strings.Join(names, ", "))
	}
	for _, dir := range append(folders, variants...) {
		if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
			return checkpoint.FindWeights(dir)
		}
	}
	return "", errors.New("no config.json: want a folder with a MiniT2I's config.json and weights")
}

// FromFile is Open for a checkpoint that is open already, which is the Weights' from now on.
func FromFile(f *checkpoint.File) (*Weights, error) {
	text := []byte(f.Metadata()[checkpoint.ConfigKey])
	if len(text) == 0 {
		var err error
		if text, err = checkpoint.ReadText(filepath.Join(filepath.Dir(f.Path), "config.json")); err != nil {
			return nil, fmt.Errorf("config.json: %w", err)
		}
	}
	config, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if err := checkpoint.Check(f, config.Tensors(), ignored); err != nil {
		return nil, err
	}
	return &Weights{Config: config, File: f, Dir: filepath.Dir(f.Path)}, nil
}

// Close closes the checkpoint.
func (w *Weights) Close() error { return w.File.Close() }

// Read fills dst with the named tensor, whose numbers must be finite.
func (w *Weights) Read(name string, dst []float32) error {
	return checkpoint.ReadFinite(w.File, name, dst)
}

// Load reads the weights.
func (w *Weights) Load() (*Model, error) {
	m, err := NewAs(w.DType, w.Config, w)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", w.File.Path, err)
	}
	return m, nil
}

// Trainable reads the weights for training, and returns the parameters.
func (w *Weights) Trainable() (*Model, []*tensor.Param, error) {
	m, params, err := NewTrainable(w.Config, w)
	if err != nil {
		return nil, nil, fmt.Errorf("model %s: %w", w.File.Path, err)
	}
	return m, params, nil
}

// Frozen reads the weights to go back through: see NewFrozen.
func (w *Weights) Frozen() (*Model, error) {
	m, err := NewFrozen(w.Config, w)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", w.File.Path, err)
	}
	return m, nil
}
