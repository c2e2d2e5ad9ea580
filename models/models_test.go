package models_test

import (
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
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
			if err := p.Check(tokencache.Request{Classes: []int{0}, Sampler: policy.Sampler, Steps: policy.Steps, Policy: policy}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if prefix := policy.Sampler + policy.Steps + "-"; !strings.HasPrefix(policy.String(), prefix) || policy.Guidance != models.Guidance[name] {
				t.Errorf("%s: policy %s is for sampler %s, %s steps and guidance %g; the model's guidance is %g", name, policy, policy.Sampler, policy.Steps, policy.Guidance, models.Guidance[name])
			}
		}
		p.Close()
	}
}

func TestChoose(t *testing.T) {
	w := models.Wanted{Sampler: "ddim", Steps: "50", Guidance: models.Guidance[models.Default]}
	got, why, err := models.Choose(models.Default, w)
	if err != nil || got == nil || got.Speed.Wanted != models.DefaultSpeed {
		t.Errorf("by default: %v (%s, %v), want the one of %gx", got, why, err, models.DefaultSpeed)
	}
	for _, other := range []models.Wanted{
		{Sampler: "dpm++", Steps: "50", Guidance: w.Guidance}, {Sampler: "ddim", Steps: "49", Guidance: w.Guidance}, {Sampler: "ddim", Steps: "50", Guidance: 7},
		{Sampler: "ddim", Steps: "50", Guidance: w.Guidance, Eta: 1}, {Sampler: "ddim", Steps: "50", Guidance: w.Guidance, Power: 2},
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
