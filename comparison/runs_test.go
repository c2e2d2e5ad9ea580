package comparison

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// tiny opens a small model for a test.
func tiny(t *testing.T) *tokencache.Pipeline {
	t.Helper()
	p, err := tokencache.Open("../testdata/dit-tiny", tokencache.Options{VAE: "../testdata/vae-tiny", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestUnreached checks that a method which is too slow for a speed is said to be, with what it
// reaches, instead of standing there with its fastest setting; and that one which is merely between
// its settings takes the nearest.
func TestUnreached(t *testing.T) {
	var said []string
	r, err := newRunner(Options{
		Dir:      t.TempDir(),
		Pipeline: tiny(t),
		Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 12},
		Policies: []string{"fora", "paper-v1", learnedResidual},
		Speeds:   []float64{2, 8, 100},
		Open:     func(text string) (reuse.Policy, error) { return reuse.Parse(text) },
		Bundled:  func(float64) (string, error) { return "", nil },
		OnStage:  func(what string) { said = append(said, what) },
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.runs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	errs := map[float64]string{}
	for _, s := range list[1:] {
		errs[s.Wanted] = s.Error
		if (s.Policy == "") != (s.Error != "") || s.Method != "FORA" {
			t.Errorf("%+v: want FORA's policy, or why there is none", s)
		}
	}
	if len(errs) != 3 || errs[2] != "" ||
		!strings.HasPrefix(errs[100], "cannot reach 100x: its fastest setting computes ") ||
		!strings.HasPrefix(errs[8], "cannot reach 8x") {
		t.Errorf("errors %v", errs)
	}
	_, err = r.nearest(t.Context(), methodOf("fora").ladder, 100, false)
	var unreached *UnreachedError
	if !errors.As(err, &unreached) || unreached.Speed != 100 || !(unreached.FLOPs > 2 && unreached.FLOPs < 7) {
		t.Errorf("error %v, want an UnreachedError with what there is", err)
	}
	for _, what := range []string{
		"TokenCache, the paper's first version is left out", learnedTitle + " is left out at 100x",
	} {
		if !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, what) }) {
			t.Errorf("not said: %s; said %q", what, said)
		}
	}
}

// TestExpected checks that a comparison is expected to take longer with more policies, more images
// and a calibration, and how a time is said.
func TestExpected(t *testing.T) {
	p := tiny(t)
	expected := func(count int, policies ...string) float64 {
		r, err := newRunner(Options{
			Dir:      t.TempDir(),
			Pipeline: p,
			Sampling: diffusion.Sampling{Sampler: "ddpm", Steps: 10},
			Policies: policies,
			Speeds:   []float64{2, 4},
			Count:    count,
			Timed:    4,
			Repeat:   3,
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, work := r.expected(); n > 0 && !math.IsNaN(work) {
			return work
		}
		t.Errorf("%v: nothing expected", policies)
		return 0
	}
	one := expected(32, "fora")
	if base := 32.0; one < base*1.5 || one > base*3 {
		t.Errorf("32 images with a method at 2x and 4x are expected to take as long as %g uncached ones", one)
	}
	for what, more := range map[string]float64{
		"images":        expected(64, "fora"),
		"methods":       expected(32, "fora", "toca"),
		"a policy":      expected(32, "fora", "toca:n=2"),
		"a calibration": expected(32, "magcache"),
	} {
		if more <= one {
			t.Errorf("more %s: expected %g, without %g", what, more, one)
		}
	}
	for seconds, want := range map[float64]string{3.4: "3 seconds", 200: "3 minutes", 20000: "6 hours"} {
		if got := roughly(seconds); got != want {
			t.Errorf("%g s: %s, want %s", seconds, got, want)
		}
	}
}
