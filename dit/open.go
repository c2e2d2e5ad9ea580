package dit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/tensor"
)

// Options gives what a checkpoint may not tell; zero means not given.
type Options struct {
	Key         string // which of several sets of weights to take: see checkpoint.OpenOptions
	Heads       int    // number of attention heads
	InputSize   int    // side of the latents
	DecodeLayer int    // MDT: number of blocks of the decoder

	// Path and Prediction tell that a model with the tensors of a DiT is a SiT, and what it was
	// trained for.
	Path       diffusion.Path
	Prediction diffusion.Prediction
}

// NeededError says that neither the tensors nor config.json tell something that Options has to
// give.
type NeededError struct {
	Option string // the name of the field of Options
	Reason string
}

func (e *NeededError) Error() string { return e.Reason }

// Weights is an opened checkpoint of a recognised model: what it is, and its weights under their
// official names.
type Weights struct {
	Config
	File       *checkpoint.File
	Process    Process  // the diffusion process that the model was trained for
	ClassNames []string // from config.json or model_index.json, or nil
	VAE        string   // the folder of the autoencoder that came with the model, or ""
	Assumed    string   // what was taken for granted because nothing told it, for the user to know, or ""

	// DType is the number format of what Load reads: see NewAs. It is for callers to set.
	DType tensor.DType

	packed *packedFile // if the weights are of a packed file

	// rename gives the tensors, in the file, that an official tensor is made of, one behind the
	// other.
	rename   func(name string) []string
	posEmbed bool
}

// Open opens a model: a checkpoint in any format that package checkpoint reads, a folder with such
// a file and perhaps config.json, or a diffusers pipeline. What the model is comes from its
// tensors, then from config.json, then from o; a contradiction is an error, and so is any missing,
// unexpected, misshapen or unreadable tensor. Of several sets of weights in a file, only those that
// hold a model are to choose from.
func Open(path string, o Options) (*Weights, error) {
	return OpenContext(context.Background(), path, o)
}

// OpenContext is Open. When ctx ends, it fails soon, and so does every later reading of the
// weights.
func OpenContext(ctx context.Context, path string, o Options) (*Weights, error) {
	at, err := locate(path)
	if err != nil {
		return nil, err
	}
	if packed, err := isPacked(at.weights); err != nil || packed {
		if err != nil {
			return nil, fmt.Errorf("model %s: %w", path, err)
		}
		return openPacked(at.weights)
	}
	f, err := checkpoint.OpenContext(ctx, at.weights, checkpoint.OpenOptions{Key: o.Key, Known: known})
	if err != nil {
		return nil, err
	}
	w, err := openFile(f, at, o)
	if err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// FromFile is Open for a checkpoint that is open already, which is w's from now on; what it is
// comes from its tensors and metadata.
func FromFile(f *checkpoint.File, o Options) (*Weights, error) {
	return openFile(f, place{weights: f.Path, named: true}, o)
}

// openFile recognises the model in f.
func openFile(f *checkpoint.File, at place, o Options) (*Weights, error) {
	given, err := readConfig(at.config, f, at.named)
	if err != nil {
		return nil, err
	}
	w := &Weights{File: f, VAE: at.vae, Assumed: at.assumed}
	if f.Assumed != "" {
		w.assume("%s", f.Assumed)
	}
	if err := w.readProcess(at, given); err != nil {
		return nil, err
	}
	names, err := readLabels(at.index, f)
	if err != nil {
		return nil, err
	}
	if given.Names == nil {
		given.Names = names
	}
	if err := w.recognise(given, o); err != nil {
		return nil, fmt.Errorf("model %s: %w", at.weights, err)
	}
	w.heed(given, o)
	return w, nil
}

// Close closes the checkpoint.
func (w *Weights) Close() error { return w.File.Close() }

// Load reads the weights. It fails with a *checkpoint.NotFiniteError for weights that are not
// numbers.
func (w *Weights) Load() (*Model, error) {
	if err := w.Unsupported(); err != nil {
		return nil, w.failed(err)
	}
	if w.packed != nil {
		return w.loadPacked()
	}
	m, err := NewAs(w.DType, w.Config, w, w.posEmbed)
	if err != nil {
		return nil, w.failed(err)
	}
	return m, nil
}

// Trainable reads the weights for training, and returns the parameters: see NewTrainable.
func (w *Weights) Trainable() (*Model, []*tensor.Param, error) {
	if err := w.Unsupported(); err != nil {
		return nil, nil, w.failed(err)
	}
	if w.NoNullClass {
		return nil, nil, w.failed(errors.New("its label table has no null class, which training needs"))
	}
	m, params, err := NewTrainable(w.Config, w, w.posEmbed)
	if err != nil {
		return nil, nil, w.failed(err)
	}
	return m, params, nil
}

// Frozen reads the weights to go back through: see NewFrozen.
func (w *Weights) Frozen() (*Model, error) {
	if err := w.Unsupported(); err != nil {
		return nil, w.failed(err)
	}
	m, err := NewFrozen(w.Config, w, w.posEmbed)
	if err != nil {
		return nil, w.failed(err)
	}
	return m, nil
}

func (w *Weights) failed(err error) error { return fmt.Errorf("model %s: %w", w.File.Path, err) }

// Read fills dst with the named tensor, whose numbers must be finite.
func (w *Weights) Read(name string, dst []float32) error {
	if w.packed != nil {
		return fmt.Errorf("tensor %s: %w", name, errPacked)
	}
	parts := w.rename(name)
	n := len(dst) / len(parts)
	for i, part := range parts {
		if err := checkpoint.ReadFinite(w.File, part, dst[i*n:(i+1)*n]); err != nil {
			return err
		}
	}
	return nil
}

// place is where the files of a model are; each but the weights may be missing and is "" then.
type place struct {
	weights   string
	config    string // config.json
	index     string // model_index.json of a diffusers pipeline
	scheduler string // scheduler_config.json
	vae       string // the folder of the pipeline's autoencoder
	named     bool   // the file of weights was named, not found in a folder
	assumed   string // which weights were taken of several in a folder
}

// locate finds the files that path means. What belongs to a pipeline is found from inside its
// transformer's folder, too.
func locate(path string) (place, error) {
	info, err := os.Stat(path)
	if err != nil {
		return place{}, fmt.Errorf("model %s: %w", path, errors.Unwrap(err))
	}
	at := place{weights: path, named: !info.IsDir()}
	dir, pipeline := filepath.Dir(path), path
	if at.named {
		pipeline = filepath.Dir(dir)
	} else if dir, pipeline, err = at.find(path); err != nil {
		return place{}, fmt.Errorf("model %s: %w", path, err)
	}
	at.config = exists(filepath.Join(dir, "config.json"))
	schedulers := []string{filepath.Join(dir, schedulerFile), filepath.Join(dir, "scheduler", schedulerFile)}
	if checkpoint.IsNetwork(filepath.Base(dir)) {
		schedulers = slices.Insert(schedulers, 0, filepath.Join(pipeline, "scheduler", schedulerFile))
		at.index = exists(filepath.Join(pipeline, "model_index.json"))
		at.vae = exists(filepath.Join(pipeline, "vae"))
	}
	for _, path := range schedulers {
		at.scheduler = cmp.Or(at.scheduler, exists(path))
	}
	return at, nil
}

// find finds the weights in a folder, and returns the folder that they are in and that of the
// pipeline that it may belong to. A folder without weights that has a pipeline's network is a
// pipeline, with or without model_index.json.
func (at *place) find(path string) (dir, pipeline string, err error) {
	found, ownErr := checkpoint.LookForWeights(path)
	isPipeline := exists(filepath.Join(path, "model_index.json")) != ""
	if ownErr == nil && !isPipeline {
		at.weights, at.assumed = found.Path, found.Assumed
		return path, filepath.Dir(path), nil
	}
	network, err := checkpoint.FindNetwork(path)
	switch {
	case err != nil:
		return "", "", err
	case network.Path == "" && !isPipeline:
		return "", "", ownErr
	case network.Path == "":
		return "", "", errors.New("a pipeline without a folder transformer: its network is none that is known here")
	}
	if found, err = checkpoint.LookForWeights(network.Path); err != nil {
		return "", "", err
	}
	at.weights = found.Path
	at.assumed = strings.Join(slices.DeleteFunc([]string{network.Assumed, found.Assumed},
		func(s string) bool { return s == "" }), "; ")
	return network.Path, path, nil
}

func exists(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
