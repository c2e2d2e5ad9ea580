package dit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/tensor"
)

// Options gives what a checkpoint may not tell; zero means not given.
type Options struct {
	Heads       int // number of attention heads
	InputSize   int // side of the latents
	DecodeLayer int // MDT: number of blocks of the decoder
}

// Weights is an opened checkpoint of a recognised model: what it is, and its weights under their official names.
type Weights struct {
	Config
	File       *checkpoint.File
	ClassNames []string // from config.json, or nil
	VAE        string   // the folder of the autoencoder that came with the model, or ""
	Assumed    string   // what was taken for granted because nothing told it, for the user to know, or ""

	rename   func(name string) []string // the tensors, in the file, that an official tensor is made of, one behind the other
	posEmbed bool
}

// Open opens a model: a checkpoint in any format that package checkpoint reads, a folder with such a file and perhaps config.json, or
// a diffusers pipeline. What the model is comes from its tensors, then from config.json, then from o; a
// contradiction is an error, and so is any missing, unexpected or misshapen tensor.
func Open(path string, o Options) (*Weights, error) {
	weights, config, err := locate(path)
	if err != nil {
		return nil, err
	}
	f, err := checkpoint.Open(weights)
	if err != nil {
		return nil, err
	}
	given, err := readConfig(config, f, weights == path)
	if err != nil {
		f.Close()
		return nil, err
	}
	w := &Weights{File: f, ClassNames: given.Names}
	if dir := filepath.Join(path, "vae"); exists(filepath.Join(path, "model_index.json")) != "" {
		w.VAE = exists(dir)
	}
	if err := w.recognise(given, o); err != nil {
		f.Close()
		return nil, fmt.Errorf("model %s: %w", weights, err)
	}
	return w, nil
}

// FromFile is Open for a checkpoint that is open already, which is w's from now on; what it is comes from its tensors and metadata.
func FromFile(f *checkpoint.File, o Options) (*Weights, error) {
	given, err := readConfig("", f, true)
	if err != nil {
		return nil, err
	}
	w := &Weights{File: f, ClassNames: given.Names}
	if err := w.recognise(given, o); err != nil {
		return nil, fmt.Errorf("model %s: %w", f.Path, err)
	}
	return w, nil
}

// Close closes the checkpoint.
func (w *Weights) Close() error { return w.File.Close() }

// Load reads the weights.
func (w *Weights) Load() (*Model, error) {
	m, err := New(w.Config, w, w.posEmbed)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", w.File.Path, err)
	}
	return m, nil
}

// Trainable reads the weights for training, and returns the parameters: see NewTrainable.
func (w *Weights) Trainable() (*Model, []*tensor.Param, error) {
	m, params, err := NewTrainable(w.Config, w, w.posEmbed)
	if err != nil {
		return nil, nil, fmt.Errorf("model %s: %w", w.File.Path, err)
	}
	return m, params, nil
}

// Frozen reads the weights to go back through: see NewFrozen.
func (w *Weights) Frozen() (*Model, error) {
	m, err := NewFrozen(w.Config, w, w.posEmbed)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", w.File.Path, err)
	}
	return m, nil
}

// Read fills dst with the named tensor.
func (w *Weights) Read(name string, dst []float32) error {
	parts := w.rename(name)
	n := len(dst) / len(parts)
	for i, part := range parts {
		if err := w.File.Read(part, dst[i*n:(i+1)*n]); err != nil {
			return err
		}
	}
	return nil
}

// locate returns the file of weights that path means, and the config.json beside it, or "".
func locate(path string) (weights, config string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", "", fmt.Errorf("model %s: %w", path, errors.Unwrap(err))
	}
	if !info.IsDir() {
		return path, exists(filepath.Join(filepath.Dir(path), "config.json")), nil
	}
	dir := path
	if exists(filepath.Join(dir, "model_index.json")) != "" {
		dir = filepath.Join(dir, "transformer")
	}
	weights, err = checkpoint.FindWeights(dir)
	if err != nil {
		return "", "", fmt.Errorf("model %s: %w", path, err)
	}
	return weights, exists(filepath.Join(dir, "config.json")), nil
}

func exists(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
