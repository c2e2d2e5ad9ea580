package main

import (
	"os"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
)

// openModel opens a model by its path or by the name of an embedded one, which an empty name becomes, and says how it is best sampled.
func openModel(name *string, o tokencache.Options) (*tokencache.Pipeline, diffusion.Sampling, error) {
	if *name == "" {
		*name = models.Default
	}
	if !embedded(*name) {
		p, err := tokencache.Open(*name, o)
		if err != nil {
			return nil, diffusion.Sampling{}, err
		}
		return p, models.Official(p.Config()), nil
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
func openWeights(name string, o dit.Options) (*dit.Weights, error) {
	if embedded(name) {
		return models.Open(name)
	}
	return dit.Open(name, o)
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
