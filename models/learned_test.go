package models_test

import (
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/models"
)

// TestLearnedSolvers checks that the universal solvers stay as near to the converged solution of
// the bundled model as they were when they were fitted. The PSNR is that of two images of an
// unseen seed; docs/experiments.md has the means over 32.
func TestLearnedSolvers(t *testing.T) {
	if testing.Short() {
		t.Skip("204 passes of the bundled model")
	}
	p, req, err := models.Open("fashion")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	req.Classes, req.Seed, req.Policy = []int{0, 1}, 777, nil
	generate := func(s tokencache.Sampling) []tokencache.Image {
		s.Guidance = req.Guidance
		r := req
		r.Sampling = s
		result, err := p.Generate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return result.Images
	}
	truth := generate(tokencache.Sampling{
		Sampler:           "unipc",
		Order:             3,
		NoLowerOrderFinal: true,
		Spacing:           "logsnr",
		Steps:             48,
	})
	for _, test := range []struct {
		steps int
		want  float64
	}{{9, 42.0}, {11, 44.2}, {15, 42.9}, {19, 46.9}} {
		mean := 0.0
		for i, m := range generate(tokencache.Sampling{Sampler: "learned", Steps: test.steps}) {
			v, err := eval.PSNRPixels(m.Pixels, truth[i].Pixels)
			if err != nil {
				t.Fatal(err)
			}
			mean += v / float64(len(truth))
		}
		t.Logf("%d steps: %.2f dB", test.steps, mean)
		if !(mean > test.want-0.3) {
			t.Errorf("%d steps: %.2f dB, want %.2f dB", test.steps, mean, test.want)
		}
	}
}
