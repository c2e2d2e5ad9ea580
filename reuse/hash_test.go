package reuse_test

import (
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// TestContentHash checks that policies have one hash only if they do the same, wherever they are.
func TestContentHash(t *testing.T) {
	m := model(t)
	forecast := func(weight float32) *reuse.TokenCache {
		p := halfPolicy()
		p.Forecast.At(5)[1] = weight
		return p
	}
	predicted := func(seed uint64) *reuse.TokenCache {
		p := reuse.NewTokenCache()
		p.Importance = reuse.Static
		c := reuse.NewPredictorConfig(reuse.Static, m.Shape())
		var err error
		if p.Predictor, err = reuse.NewPredictor(c, reuse.InitPredictor{Config: c, Seed: seed}); err != nil {
			t.Fatal(err)
		}
		return p
	}
	smooth := func(last int) *reuse.SmoothCache {
		return &reuse.SmoothCache{Threshold: 0.2, Compute: map[string][]int{"attn": {1, 0, last}, "mlp": {1, 1}}}
	}
	l2c := func(logit float32) *reuse.L2C {
		return &reuse.L2C{Threshold: 0.1, Logits: [][]float32{{1, 2}, {3, logit}}}
	}
	otherWeights := l2pOf(0, 1, 4)
	otherWeights.Weights[3][2] = 0.25
	for _, test := range []struct {
		name string
		a, b reuse.Policy
		same bool
	}{
		{"texts", parse(t, "fora"), parse(t, "fora:n=3"), true},
		{"other parameters", parse(t, "fora"), parse(t, "fora:n=4"), false},
		{"other methods", parse(t, "toca"), parse(t, "duca"), false},
		{"a spec and what it means", reuse.Spec("fora:cache_interval=3"), parse(t, "fora"), true},
		{"a trained spec", &reuse.Trained{Spec: "fora"}, parse(t, "fora"), true},
		{"forecasts", forecast(0.5), forecast(0.5), true},
		{"other forecasts", forecast(0.5), forecast(0.25), false},
		{"predictors", predicted(1), predicted(1), true},
		{"other predictors", predicted(1), predicted(2), false},
		{"schedules", smooth(1), smooth(1), true},
		{"other schedules", smooth(1), smooth(0), false},
		{"routers", l2c(4), l2c(4), true},
		{"other routers", l2c(4), l2c(5), false},
		{"weights", l2pOf(0, 1, 4), l2pOf(0, 1, 4), true},
		{"other weights", l2pOf(0, 1, 4), otherWeights, false},
		{"other steps", l2pOf(0, 1, 4), l2pOf(0, 1, 5), false},
		{"other thresholds", l2c(4), &reuse.L2C{Threshold: 0.2, Logits: l2c(4).Logits}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := reuse.ContentHash(test.a), reuse.ContentHash(test.b)
			if (a == b) != test.same || a == "" {
				t.Errorf("%s and %s, want them equal: %v", a, b, test.same)
			}
		})
	}
	t.Run("folders", func(t *testing.T) {
		var hashes []string
		for _, name := range []string{"one", "another"} {
			p := forecast(0.5)
			dir := filepath.Join(t.TempDir(), name)
			saved := &reuse.Trained{Policy: p, Fingerprint: m.Shape().Fingerprint, Sampling: plan.Sampling}
			if err := saved.Save(dir, p.Forecast.Write); err != nil {
				t.Fatal(err)
			}
			read, err := reuse.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			hashes = append(hashes, reuse.ContentHash(read))
		}
		if want := reuse.ContentHash(forecast(0.5)); hashes[0] != want || hashes[1] != want {
			t.Errorf("%v, want %s", hashes, want)
		}
	})
}
