package calibrate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// TestEvidence checks what a policy's figures are of: images of another seed, over all classes or
// evenly apart, with their PSNR to both references, and that few images are told.
func TestEvidence(t *testing.T) {
	if n := Defaults().Measure; n < 32 {
		t.Errorf("%d images by default, want 32 or more", n)
	}
	p, o := tiny(t)
	o.Measure = 3
	made, err := Run(t.Context(), p, NewTeaCache(), o)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := made.Provenance["measured"].(*Evidence)
	if !ok || e.Images != 3 || e.Classes != 3 || e.Seed == o.Seed || made.Saw(e.Seed) || !made.Saw(o.Seed) {
		t.Errorf("measured %+v", made.Provenance["measured"])
	}
	if e.PSNRUncached == nil || e.PSNRConverged == nil || e.Converged.Evaluations != 197 ||
		made.PSNR != RoundPSNR(e.PSNRUncached.Mean) {
		t.Errorf("measured %+v, the policy's PSNR is %g", e, made.PSNR)
	}
	if want := "rough: 3 images, where 32 were advised; of 3 of the 10 classes"; e.Note != want {
		t.Errorf("note %q, want %q", e.Note, want)
	}
	b, err := os.ReadFile(filepath.Join(o.Dir, reuse.PolicyFile))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Provenance struct{ Measured Evidence }
	}
	if err := json.Unmarshal(b, &file); err != nil || *file.Provenance.Measured.PSNRConverged != *e.PSNRConverged {
		t.Errorf("%s (%v), want the evidence", b, err)
	}
	for images, want := range map[int][]int{3: {0, 3, 6}, 10: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 1: {0}} {
		m := makerOf(t, p, o)
		req := m.measured(images)
		if !slices.Equal(req.Classes, want) {
			t.Errorf("%d images are of classes %v, want %v", images, req.Classes, want)
		}
	}

	o.Dir, o.Sampler = t.TempDir(), "ddpm"
	if made, err = Run(t.Context(), p, NewTeaCache(), o); err != nil {
		t.Fatal(err)
	}
	e = made.Provenance["measured"].(*Evidence)
	if e.PSNRConverged != nil || !strings.HasPrefix(e.Note, "no converged solution: sampler ddpm adds noise") {
		t.Errorf("of ddpm: %+v", e)
	}
}

// makerOf returns the state of a calibration before anything is made.
func makerOf(t *testing.T, p *tokencache.Pipeline, o Options) *maker {
	t.Helper()
	m, err := newMaker(p, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
