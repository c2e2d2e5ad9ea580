// Package bundle describes models that are part of a program: weights, how they are best sampled,
// calibrated policies, and a classifier that evaluates their images.
//
// Each bundled model is a package that embeds its files and registers itself when it is imported,
// so that a program links the weights of the models it imports and of no others.
package bundle

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/minit2i"
)

// The files of a Bundle.
const (
	WeightsFile    = "model.safetensors"
	ClassifierFile = "classifier.safetensors"
	PoliciesDir    = "policies" // a folder for each policy, as reuse.Open reads it
)

// Bundle is a bundled model.
type Bundle struct {
	Name  string
	Files fs.FS // WeightsFile, and perhaps ClassifierFile and PoliciesDir

	// Sampling is how the model is best sampled. Zero values mean what diffusion.Sampling says.
	Sampling diffusion.Sampling

	// Speed is that of the policy which is used where none is asked for, times the uncached model; 0
	// means DefaultSpeed.
	Speed float64

	// Prompts are what a text-to-image model shows on sheets, in calibrations and in comparisons; nil
	// of a model of classes.
	Prompts []string

	// Guidances are the least and the largest guidance scale at which the policies of sampler ddim
	// keep their images as they do at their own, as measured: docs/experiments.md. Zero values mean
	// that policies are chosen for their own scale alone.
	Guidances [2]float64

	// ClassifierOf names the bundle with the classifier for images of this model's kind, which must
	// be linked for Classifier to work; "" means the bundle itself.
	ClassifierOf string
}

var registered = map[string]*Bundle{}

// Register makes a bundle known by its name and returns it. It is called while packages are
// initialised, and panics if the name is empty or taken.
func Register(b *Bundle) *Bundle {
	if b.Name == "" || registered[b.Name] != nil {
		panic(fmt.Sprintf("bundle: the name %q is empty or taken", b.Name))
	}
	registered[b.Name] = b
	return b
}

// Lookup returns the bundle with a name, or nil.
func Lookup(name string) *Bundle { return registered[name] }

// Names lists the bundles that are linked, sorted.
func Names() []string { return slices.Sorted(maps.Keys(registered)) }

// Open opens the model. The request samples it as suits it, with the policy that Choose returns for
// that if there is one; it lacks only the classes or prompts.
func (b *Bundle) Open(o tokencache.Options) (*tokencache.Pipeline, tokencache.Request, error) {
	req := tokencache.Request{Sampling: b.Sampling.WithDefaults()}
	switch t, err := b.Choose(req.Sampling, 0); {
	case err == nil:
		req.Policy = t
	case !noneFits(err):
		return nil, tokencache.Request{}, err
	}
	p, err := b.pipeline(o)
	if err != nil {
		return nil, tokencache.Request{}, err
	}
	return p, req, nil
}

// pipeline opens the model.
func (b *Bundle) pipeline(o tokencache.Options) (*tokencache.Pipeline, error) {
	f, err := b.File()
	if err != nil {
		return nil, err
	}
	if minit2i.Known(f.Names()) {
		w, err := minit2i.FromFile(f)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		defer w.Close()
		return tokencache.FromTextWeights(w, o)
	}
	w, err := dit.FromFile(f, dit.Options{})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	return tokencache.FromWeights(w, o)
}

// File opens the checkpoint of the model, of whatever kind.
func (b *Bundle) File() (*checkpoint.File, error) { return b.file(WeightsFile) }

// Weights opens the weights of a model of classes.
func (b *Bundle) Weights() (*dit.Weights, error) {
	f, err := b.File()
	if err != nil {
		return nil, err
	}
	if minit2i.Known(f.Names()) {
		err := fmt.Errorf("bundled model %s takes prompts: want a model of classes", b.Name)
		return nil, errors.Join(err, f.Close())
	}
	return dit.FromFile(f, dit.Options{})
}

// TextWeights opens the weights of a text-to-image model.
func (b *Bundle) TextWeights() (*minit2i.Weights, error) {
	f, err := b.File()
	if err != nil {
		return nil, err
	}
	if !minit2i.Known(f.Names()) {
		err := fmt.Errorf("bundled model %s takes classes: want a text-to-image model", b.Name)
		return nil, errors.Join(err, f.Close())
	}
	w, err := minit2i.FromFile(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bundled model %s: %w", b.Name, err), f.Close())
	}
	return w, nil
}

// Classifier returns the network that evaluates images of the kind that the model generates.
func (b *Bundle) Classifier() (*eval.Classifier, error) {
	of := cmp.Or(b.ClassifierOf, b.Name)
	owner := b
	if of != b.Name {
		if owner = Lookup(of); owner == nil {
			return nil, fmt.Errorf("bundled model %s: its classifier is that of %s, which is not linked", b.Name, of)
		}
	}
	f, err := owner.file(ClassifierFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return eval.OpenClassifier(f)
}

// file opens a checkpoint of the bundle.
func (b *Bundle) file(name string) (*checkpoint.File, error) {
	content, err := fs.ReadFile(b.Files, name)
	if err != nil {
		return nil, fmt.Errorf("bundled model %s: %w", b.Name, err)
	}
	return checkpoint.NewReader("bundled "+b.Name+"/"+name, bytes.NewReader(content), int64(len(content)))
}
