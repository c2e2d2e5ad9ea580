package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
)

// openModel opens a model by its path or by the name of an embedded one, which an empty name becomes, and says how it is best sampled.
func openModel(ctx context.Context, name *string, o tokencache.Options) (*tokencache.Pipeline, diffusion.Sampling, error) {
	if *name == "" {
		*name = models.Default
	}
	if !embedded(*name) {
		p, err := tokencache.OpenContext(ctx, *name, o)
		if err != nil {
			return nil, diffusion.Sampling{}, withFlag(err)
		}
		return p, models.Official(p.Config()), nil
	}
	if o.Key != "" {
		return nil, diffusion.Sampling{}, errors.New("--key: an embedded model has one set of weights")
	}
	w, err := models.Open(*name)
	if err != nil {
		return nil, diffusion.Sampling{}, err
	}
	p, err := tokencache.FromWeights(w, o)
	return p, diffusion.Sampling{Guidance: models.Guidance[*name]}, err
}

func embedded(name string) bool { return slices.Contains(models.Names(), name) }

// openWeights opens the weights of a model by its path or by the name of an embedded one.
func openWeights(ctx context.Context, name string, o dit.Options) (*dit.Weights, error) {
	if embedded(name) {
		return models.Open(name)
	}
	w, err := dit.OpenContext(ctx, name, o)
	return w, withFlag(err)
}

// withFlag adds to an error of opening a model the flags that help.
func withFlag(err error) error {
	if flags := helpful(err); len(flags) > 0 {
		return fmt.Errorf("%w: give %s", err, strings.Join(flags, " and "))
	}
	return err
}

// helpful lists the flags that give what an error, or one that it joins, says is needed.
func helpful(err error) []string {
	switch err := err.(type) {
	case *dit.NeededError:
		return []string{map[string]string{"Heads": "--heads", "InputSize": "--input-size"}[err.Option]}
	case *checkpoint.ChoiceError:
		if err.Key == "" {
			return []string{"--key"}
		}
	case interface{ Unwrap() []error }:
		var flags []string
		for _, e := range err.Unwrap() {
			flags = append(flags, helpful(e)...)
		}
		return flags
	case interface{ Unwrap() error }:
		return helpful(err.Unwrap())
	}
	return nil
}

// openPolicy returns the policy that a user names: none, NAME:key=value,..., one that comes with the model, or the folder of a trained one.
func openPolicy(model, text string) (reuse.Policy, error) {
	shipped, err := models.Policies(model)
	if err != nil {
		return nil, err
	}
	for _, t := range shipped {
		if t.String() == text {
			return t, nil
		}
	}
	if info, err := os.Stat(text); err == nil && info.IsDir() {
		return reuse.Open(text)
	}
	return reuse.Parse(text)
}
