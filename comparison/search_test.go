package comparison

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// unseenImages are those that the answer of a search is measured on.
const unseenImages = 3

// searchOptions are of a search on a small model.
func searchOptions(t *testing.T, policies ...string) Options {
	o := Options{
		Dir:      filepath.Join(t.TempDir(), "evidence"),
		Pipeline: tiny(t),
		Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 12, Guidance: 1.5}.WithDefaults(),
		Policies: policies,
		Count:    5,
		Open:     func(text string) (reuse.Policy, error) { return reuse.Parse(text) },
		Command:  "a test",
	}
	SearchDefaults(&o, 1)
	o.Timed, o.Repeat = 2, 1
	return o
}

// searching searches, and returns what was said.
func searching(t *testing.T, o Options, target string, against Against) (*Winner, []string) {
	t.Helper()
	parsed, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Against = against
	var said []string
	o.OnStage = func(what string) { said = append(said, what) }
	before := 0.0
	o.OnProgress = func(done, all float64) {
		if done < before || done > all || !(all > 0) {
			t.Errorf("progress of %g after %g, of %g", done, before, all)
		}
		before = done
	}
	w, err := Search(t.Context(), o, parsed, unseenImages)
	if err != nil {
		t.Fatal(err)
	}
	return w, said
}

// reproduced checks that a policy's folder makes the images that its figures are of.
func reproduced(t *testing.T, o Options, w *Winner) *reuse.Trained {
	t.Helper()
	dir := t.TempDir()
	if err := w.Save(dir); err != nil {
		t.Fatal(err)
	}
	saved, err := reuse.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	measured := w.Policy.Provenance["measured"].(*calibrate.Evidence)
	r, err := o.Pipeline.Generate(t.Context(), tokencache.Request{
		Seed:     measured.Seed,
		Classes:  []int{0, 3, 6}, // evenly apart
		Sampling: saved.Sampling,
		Policy:   saved,
	})
	if err != nil {
		t.Fatal(err)
	}
	kept := w.Images[len(w.Images)-1]
	for i, m := range r.Images {
		if kept[i].Class != m.Class {
			t.Errorf("image %d is of class %d, want %d", i, kept[i].Class, m.Class)
		}
		if !bytes.Equal(m.Pixels, kept[i].Pixels) {
			t.Errorf("image %d of the folder is not that of the search", i)
		}
	}
	if !saved.Saw(o.Seed) || saved.Saw(measured.Seed) || saved.Saw(DefaultSeed) {
		t.Errorf("seeds: %v, chosen by %d, measured on %d", saved.Provenance, o.Seed, measured.Seed)
	}
	const rough = "rough: 3 images, where 32 were advised; of 3 of the 10 classes"
	if measured.Images != unseenImages || !strings.Contains(measured.Note, rough) {
		t.Errorf("measured %+v", measured)
	}
	return saved
}

// TestSearchSamplers checks that a search with the converged solution as its reference finds a
// sampler with its steps, of all spacings, leaves out policies on a sampling that is itself too far from the solution,
// and that its folder reproduces its images.
func TestSearchSamplers(t *testing.T) {
	o := searchOptions(t, "unipc3", "fora")
	w, said := searching(t, o, "psnr>=33.9", AgainstConverged)
	if w.Policy == nil {
		t.Fatalf("nothing found; tried %+v", w.Tried)
	}
	saved := reproduced(t, o, w)
	if saved.Sampler != "unipc" || saved.Order != 3 || saved.Steps >= 12 ||
		saved.Guidance != 1.5 {
		t.Errorf("found %+v", saved.Sampling)
	}
	if saved.PSNR != 0 || w.Cell.PSNRConverged.Mean < 33.9 {
		t.Errorf("%g dB to an uncached run, %g to the converged solution", saved.PSNR, w.Cell.PSNRConverged.Mean)
	}
	for _, want := range []string{
		"about ", "PSNR is to the converged solution", "cache policies on ddim, 12 steps are no candidates",
	} {
		if !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("not said: %s...; said %q", want, said)
		}
	}
	both := func(tr Trial) bool { return strings.HasPrefix(tr.Policy, "fora:n=2@unipc3:logsnr") }
	if !slices.ContainsFunc(w.Tried, both) {
		t.Errorf("no policy was tried on a solver: %+v", w.Tried)
	}
	for _, spacing := range diffusion.Spacings() {
		of := func(tr Trial) bool { return strings.HasPrefix(tr.Policy, "steps=unipc3:"+spacing) }
		if !slices.ContainsFunc(w.Tried, of) {
			t.Errorf("spacing %s was not tried: %+v", spacing, w.Tried)
		}
	}
	line := w.Command("dir").String()
	if !strings.Contains(line, "--sampler unipc --steps "+saved.StepsText()) || !strings.Contains(line, "--order 3") ||
		!strings.Contains(line, "--guidance 1.5") {
		t.Errorf("command %s", line)
	}
	if slices.ContainsFunc(w.Tried, func(tr Trial) bool { return strings.HasSuffix(tr.Policy, "fora:n=2") }) {
		t.Errorf("tried a policy on ddim: %+v", w.Tried)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, triedFile)); err != nil {
		t.Error(err)
	}
}

// TestSearchPolicies checks that the uncached run as the reference admits policies on the sampling
// that was asked for alone.
func TestSearchPolicies(t *testing.T) {
	o := searchOptions(t, fewerSteps, "fora", "taylorseer")
	w, said := searching(t, o, "psnr>=30", "")
	if w.Policy == nil {
		t.Fatalf("nothing found; tried %+v", w.Tried)
	}
	saved := reproduced(t, o, w)
	if saved.WithDefaults() != o.Sampling || saved.Spec == "none" || saved.PSNR < 30 {
		t.Errorf("found %s on %+v at %g dB", saved.Spec, saved.Sampling, saved.PSNR)
	}
	for _, tr := range w.Tried {
		if strings.Contains(tr.Policy, stepsPrefix) || strings.Contains(tr.Policy, atSampler) {
			t.Errorf("tried %s", tr.Policy)
		}
	}
	const want = "other samplers and steps have other images"
	if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, want) }) {
		t.Errorf("not said: %s; said %q", want, said)
	}
}

// TestSearchOnSolvers checks that a policy on top of a solver is saved with both.
func TestSearchOnSolvers(t *testing.T) {
	o := searchOptions(t)
	b, err := newBench(o, Target{psnr: 10, Against: AgainstConverged}, unseenImages)
	if err != nil {
		t.Fatal(err)
	}
	a := &arm{title: "FORA on UniPC-3", rungs: []rung{{policy: "fora:n=2@unipc3:logsnr7"}}}
	if _, err := b.verify(t.Context(), a, 0); err != nil {
		t.Fatal(err)
	}
	w := &Winner{Result: b.unseen.result}
	w.Cell = &w.Cells[len(w.Cells)-1]
	if err := b.answer(w, time.Now()); err != nil {
		t.Fatal(err)
	}
	saved := reproduced(t, o, w)
	if saved.Spec != "fora:n=2" || saved.Sampler != "unipc" || saved.Steps != 7 || w.Cell.PSteps == 0 {
		t.Errorf("saved %s on %+v", saved.Spec, saved.Sampling)
	}
}

// TestSearchReadsRealImagesLate checks that real images are read when they are needed, and not before
// the search says how long it takes.
func TestSearchReadsRealImagesLate(t *testing.T) {
	o := searchOptions(t, "fora")
	unread := errors.New("unread")
	o.Reference, o.RealImages = &Reference{}, func(context.Context) error { return unread }
	var said []string
	o.OnStage = func(what string) { said = append(said, what) }
	if _, err := Search(t.Context(), o, Target{frechet: 1.1}, unseenImages); !errors.Is(err, unread) {
		t.Errorf("error %v, want that of the real images", err)
	}
	if len(said) == 0 || !strings.HasPrefix(said[0], "about ") {
		t.Errorf("said %q, want first how long it takes", said)
	}
	if w, _ := searching(t, o, "speed=50x", AgainstUncached); w.Policy != nil { // nothing is worth evaluating
		t.Errorf("found %v", w.Policy)
	}
}

// TestSearchFails checks that a search says what is wrong before it works, and what was near where
// nothing met the target.
func TestSearchFails(t *testing.T) {
	o := searchOptions(t, "fora")
	o.Sampler = "ddpm"
	var stochastic *diffusion.StochasticError
	_, err := Search(t.Context(), o, Target{psnr: 40, Against: AgainstConverged}, unseenImages)
	if !errors.As(err, &stochastic) {
		t.Errorf("error %v, want that ddpm has no converged solution", err)
	}
	if _, err := Search(t.Context(), o, Target{frechet: 1.1}, unseenImages); !errors.Is(err, ErrNoReference) {
		t.Errorf("error %v, want that there are no real images", err)
	}
	w, _ := searching(t, o, "speed=50x", "")
	if w.Policy != nil || len(w.Unreachable) != 1 || !strings.HasPrefix(w.Misses(), "Too slow:\n  FORA cannot reach 50x") {
		t.Errorf("found %v; %s", w.Policy, w.Misses())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Search(ctx, o, Target{psnr: 40}, unseenImages); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
}
