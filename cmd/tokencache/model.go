package main

import (
	"os"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
)

// guidance is the scale of classifier-free guidance that suits a model, and its power: see Request.GuidancePower.
type guidance struct{ scale, power float64 }

// openModel opens a model by its path or by the name of an embedded one, which an empty name becomes.
func openModel(name *string, o tokencache.Options) (*tokencache.Pipeline, guidance, error) {
	if *name == "" {
		*name = models.Default
	}
	if !embedded(*name) {
		p, err := tokencache.Open(*name, o)
		if err != nil {
			return nil, guidance{}, err
		}
		scale, power := p.OfficialGuidance()
		return p, guidance{scale, power}, nil
	}
	w, err := models.Open(*name)
	if err != nil {
		return nil, guidance{}, err
	}
	p, err := tokencache.FromWeights(w, o)
	return p, guidance{scale: models.Guidance[*name]}, err
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
