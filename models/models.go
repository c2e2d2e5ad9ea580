// Package models holds the bundled models, and turns what a user names a model or a policy into
// one.
//
// It links the weights of all of them. A program that needs one imports that model's package
// instead, such as models/fashion, and opens its Bundle; the library itself imports none.
package models

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/models/bundle"
	_ "github.com/tokencache/tokencache/models/emoji"       // registers itself
	_ "github.com/tokencache/tokencache/models/fashion"     // likewise
	_ "github.com/tokencache/tokencache/models/fashion-mdt" // likewise
)

// Default is the name of the model that is used where none is named, and DefaultText that of the
// text-to-image model which generate and serve take then for prompts.
const (
	Default     = "fashion"
	DefaultText = "emoji"
)

// Names lists the bundled models.
func Names() []string { return bundle.Names() }

// Lookup returns the bundled model with a name. If there is none the error is an *UnknownError.
func Lookup(name string) (*bundle.Bundle, error) {
	b := bundle.Lookup(name)
	if b == nil {
		return nil, &UnknownError{Kind: "bundled model", Name: name, Known: Names()}
	}
	return b, nil
}

// Open opens a bundled model by name, with at most one Options. The request samples it as suits it,
// with its default policy, and lacks only the classes.
func Open(name string, o ...tokencache.Options) (*tokencache.Pipeline, tokencache.Request, error) {
	b, err := Lookup(name)
	switch {
	case err != nil:
		return nil, tokencache.Request{}, err
	case len(o) > 1:
		return nil, tokencache.Request{}, fmt.Errorf("open model %s: got %d Options, want at most one", name, len(o))
	case len(o) == 0:
		o = []tokencache.Options{{}}
	}
	return b.Open(o[0])
}

// Resolve opens the model that a user names: a bundled one, or the path of another. A name without
// a path separator is a bundled model's first, so that ./NAME is the path of a file with such a
// name. It also returns how the model is best sampled, which is Official where it is not bundled,
// and its bundle, nil where it is not.
func Resolve(ctx context.Context, name string, o tokencache.Options) (*tokencache.Pipeline, tokencache.Sampling, *bundle.Bundle, error) {
	if b := bundle.Lookup(name); b != nil {
		if err := cmp.Or(checkKey(o.Key), checkShape(o)); err != nil {
			return nil, tokencache.Sampling{}, nil, err
		}
		p, req, err := b.Open(o)
		return p, req.Sampling, b, err
	}
	p, err := tokencache.OpenContext(ctx, name, o)
	if err != nil {
		return nil, tokencache.Sampling{}, nil, orUnknown("model", name, err)
	}
	return p, Official(p), nil, nil
}

// checkKey refuses the choice of a set of weights of a bundled model.
func checkKey(key string) error {
	if key == "" {
		return nil
	}
	return &tokencache.FieldError{Field: "Key", Value: key, Want: "none: a bundled model has one set of weights"}
}

// checkShape refuses what a bundled model says itself.
func checkShape(o tokencache.Options) error {
	for _, of := range []struct {
		field string
		value any
		given bool
	}{
		{"Heads", o.Heads, o.Heads != 0},
		{"InputSize", o.InputSize, o.InputSize != 0},
		{"DecodeLayer", o.DecodeLayer, o.DecodeLayer != 0},
		{"Path", o.Path, o.Path != ""},
		{"Prediction", o.Prediction, o.Prediction != ""},
	} {
		if of.given {
			return &tokencache.FieldError{Field: of.field, Value: of.value, Want: "none: a bundled model says what it is"}
		}
	}
	return nil
}

// ResolveWeights opens the weights of the model that a user names, as Resolve does. Options are for
// models that are not bundled.
func ResolveWeights(ctx context.Context, name string, o dit.Options) (*dit.Weights, error) {
	if b := bundle.Lookup(name); b != nil {
		if err := checkKey(o.Key); err != nil {
			return nil, err
		}
		return b.Weights()
	}
	w, err := dit.OpenContext(ctx, name, o)
	if err != nil {
		return nil, orUnknown("model", name, err)
	}
	return w, nil
}

// TakesPrompts reports whether the model that a user names is a text-to-image model.
func TakesPrompts(name string) bool {
	b := bundle.Lookup(name)
	if b == nil {
		return minit2i.Found(name)
	}
	f, err := b.File()
	if err != nil {
		return false
	}
	defer f.Close()
	return minit2i.Known(f.Names())
}

// ResolveTextWeights is ResolveWeights of a text-to-image model.
func ResolveTextWeights(ctx context.Context, name string, o minit2i.Options) (*minit2i.Weights, error) {
	if b := bundle.Lookup(name); b != nil {
		if err := checkKey(o.Key); err != nil {
			return nil, err
		}
		return b.TextWeights()
	}
	w, err := minit2i.Open(ctx, name, o)
	if err != nil {
		return nil, orUnknown("model", name, err)
	}
	return w, nil
}

// Convert is checkpoint.Convert of the model that a user names, as Resolve does.
func Convert(from, to string, o checkpoint.ConvertOptions) (leftOut []string, err error) {
	b := bundle.Lookup(from)
	if b == nil {
		leftOut, err = checkpoint.Convert(from, to, o)
		if err != nil {
			err = orUnknown("model", from, err)
		}
		return leftOut, err
	}
	if err := checkKey(o.Key); err != nil {
		return nil, err
	}
	f, err := b.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Convert(to, o)
}

// Classifier returns the network that evaluates images of the kind that a bundled model generates.
func Classifier(name string) (*eval.Classifier, error) {
	b, err := Lookup(name)
	if err != nil {
		return nil, err
	}
	return b.Classifier()
}

// Official returns how a model's own code samples it: the guidance of DiT, or MDT's that grows, and
// the shift of its scheduler. A model without a null class has no guidance.
func Official(p *tokencache.Pipeline) diffusion.Sampling {
	if p.TakesPrompts() {
		return diffusion.Sampling{Sampler: "euler", Steps: 100, Guidance: 2.5}
	}
	c, s := p.Config(), p.SchedulerSampling()
	switch {
	case c.NoNullClass:
		s.Guidance = 1
	case c.DecodeLayer == 0:
		s.Guidance = 4
	default:
		s.Guidance, s.GuidancePower = 3.8, 4
	}
	return s
}

// orUnknown returns err, or that a name is unknown where no file has it and it does not look like a
// path.
func orUnknown(kind, name string, err error) error {
	if _, missing := os.Stat(name); !os.IsNotExist(missing) || strings.ContainsAny(name, `/\.`) {
		return err
	}
	return &UnknownError{Kind: kind, Name: name, Known: Names(), Or: "the path of a " + kind}
}

// Find reports a model that a user names, as for Resolve, and that is neither bundled nor a file or
// folder. It opens nothing.
func Find(name string) error {
	if bundle.Lookup(name) != nil {
		return nil
	}
	if _, err := os.Stat(name); err != nil {
		return orUnknown("model", name, fmt.Errorf("model %w", err))
	}
	return nil
}
