package models_test

import (
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/models"
)

// TestPoliciesFit holds that every policy that comes with a model was made for the weights that come with it, and that its name says what it is for.
func TestPoliciesFit(t *testing.T) {
	for _, name := range models.Names() {
		w, err := models.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := tokencache.FromWeights(w, tokencache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		policies, err := models.Policies(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, policy := range policies {
			if err := p.Check(tokencache.Request{Classes: []int{0}, Sampling: policy.Sampling, Policy: policy}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if prefix := policy.Sampler + policy.StepsText() + "-"; !strings.HasPrefix(policy.String(), prefix) || policy.Guidance != models.Guidance[name] {
				t.Errorf("%s: policy %s is for sampler %s, %s steps and guidance %g; the model's guidance is %g", name, policy, policy.Sampler, policy.StepsText(), policy.Guidance, models.Guidance[name])
			}
		}
		p.Close()
	}
}

func TestChoose(t *testing.T) {
	sampling := func(sampler string, steps int, guidance, eta, power float64) models.Wanted {
		return models.Wanted{Sampling: diffusion.Sampling{Sampler: sampler, Steps: steps, Guidance: guidance, Eta: eta, GuidancePower: power}}
	}
	guidance := models.Guidance[models.Default]
	w := sampling("ddim", 50, guidance, 0, 0)
	got, why, err := models.Choose(models.Default, w)
	if err != nil || got == nil || got.Speed.Wanted != models.DefaultSpeed {
		t.Errorf("by default: %v (%s, %v), want the one of %gx", got, why, err, models.DefaultSpeed)
	}
	for _, other := range []models.Wanted{
		sampling("dpm++", 50, guidance, 0, 0), sampling("ddim", 49, guidance, 0, 0), sampling("ddim", 50, 7, 0, 0),
		sampling("ddim", 50, guidance, 1, 0), sampling("ddim", 50, guidance, 0, 2),
	} {
		if got, why, err := models.Choose(models.Default, other); got != nil || err != nil || !strings.Contains(why, other.String()) {
			t.Errorf("%s: chose %v (%q, %v), want none, and why", other, got, why, err)
		}
	}
	w.Speed = 50
	if got, _, err := models.Choose(models.Default, w); err == nil {
		t.Errorf("chose %v for 50x", got)
	}
	if got, _, err := models.Choose("none such", w); got != nil || err != nil {
		t.Errorf("chose %v (%v) for a model that is not embedded", got, err)
	}
}
