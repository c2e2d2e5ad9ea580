package main

import (
	"os"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/reuse"
)

// open opens a model by its path or by the name of a bundled one, which an empty name becomes, and
// returns it with how it is sampled: as the flags say, and else as suits it.
func (a *app) open(name *string, o tokencache.Options, f *samplingFlags) (*tokencache.Pipeline, tokencache.Sampling, error) {
	if *name == "" {
		*name = models.Default
	}
	p, suits, err := openModel(*name, o)
	if err != nil {
		return nil, tokencache.Sampling{}, err
	}
	if p.Assumed() != "" {
		a.note("%s", p.Assumed())
	}
	sampling, err := f.sampling(suits)
	if err != nil {
		p.Close()
		return nil, tokencache.Sampling{}, err
	}
	a.opened = opened{model: *name, options: o, sampling: sampling}
	return p, sampling, nil
}

// openModel opens a model and says how it is best sampled.
func openModel(name string, o tokencache.Options) (*tokencache.Pipeline, tokencache.Sampling, error) {
	if !embedded(name) {
		p, err := tokencache.Open(name, o)
		if err != nil {
			return nil, tokencache.Sampling{}, err
		}
		return p, models.Official(p.Config()), nil
	}
	w, err := models.Open(name)
	if err != nil {
		return nil, tokencache.Sampling{}, err
	}
	p, err := tokencache.FromWeights(w, o)
	return p, tokencache.Sampling{Guidance: models.Guidance[name]}, err
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
