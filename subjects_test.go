package tokencache_test

import (
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/models"
)

// subjectsOf returns prompts of a text-to-image model, or all classes of another.
func subjectsOf(t *testing.T, p *tokencache.Pipeline, prompts ...string) *tokencache.Subjects {
	t.Helper()
	s, _, err := p.Subjects(t.Context(), prompts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSubjectsOfClasses checks that images cycle through all classes, and that few are evenly
// apart.
func TestSubjectsOfClasses(t *testing.T) {
	p, _, err := models.Open("fashion", tokencache.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := subjectsOf(t, p)
	if s.Len() != 10 || s.Prompts() != nil || s.Digest() != "" || s.String() != "10 classes" {
		t.Errorf("%s: %d, prompts %v, digest %q", s, s.Len(), s.Prompts(), s.Digest())
	}
	var req tokencache.Request
	s.Cycle(&req, 12)
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1}; !slices.Equal(req.Classes, want) || req.Conditions != nil {
		t.Errorf("12 images are of classes %v and conditions %v", req.Classes, req.Conditions)
	}
	s.Spread(&req, 3)
	if want := []int{0, 3, 6}; !slices.Equal(req.Classes, want) {
		t.Errorf("3 images are of classes %v, want %v", req.Classes, want)
	}
	if got := p.Labels(req); got[0] != p.ClassNames()[0] || got[2] != p.ClassNames()[6] {
		t.Errorf("labels %v", got)
	}
	if _, _, err := p.Subjects(t.Context(), []string{"a cat"}); err == nil {
		t.Error("prompts of a model of classes: no error")
	}
}

// TestSubjectsOfPrompts checks the same of prompts, and that a digest tells other prompts apart,
// but not other ways to open the same model.
func TestSubjectsOfPrompts(t *testing.T) {
	p := openText(t, tokencache.Options{})
	if _, err := p.SubjectsOr(nil); err == nil {
		t.Error("a text-to-image model without prompts: no error")
	}
	s := subjectsOf(t, p, "a cat", "near the sea")
	var req tokencache.Request
	s.Cycle(&req, 3)
	if got, want := p.Labels(req), []string{"a cat", "near the sea", "a cat"}; !slices.Equal(got, want) {
		t.Errorf("3 images show %v, want %v", got, want)
	}
	if req.Conditions[0] != s.Condition(2) || req.Conditions[0] == s.Condition(1) {
		t.Error("image i does not show subject i modulo 2")
	}
	for _, prompts := range [][]string{{"a cat"}, {"near the sea", "a cat"}, {"a cat", "near the seas"}} {
		if subjectsOf(t, p, prompts...).Digest() == s.Digest() {
			t.Errorf("%q have the digest of %q", prompts, s.Prompts())
		}
	}
	again := openText(t, tokencache.Options{DType: tokencache.BF16})
	if subjectsOf(t, again, s.Prompts()...).Digest() != s.Digest() {
		t.Error("the same prompts of the same model have two digests")
	}
}

// TestPromptsOfOtherFormats checks that a model takes prompts that another of its weights has
// prepared, in another number format, as its own to the bit, and those of other weights not at all.
func TestPromptsOfOtherFormats(t *testing.T) {
	exact, short := openText(t, tokencache.Options{}), openText(t, tokencache.Options{DType: tokencache.BF16})
	generate := func(p *tokencache.Pipeline, from *tokencache.Pipeline) []float32 {
		t.Helper()
		req := tokencache.Request{
			Seed:     1,
			Sampling: tokencache.Sampling{Sampler: "euler", Steps: 3, Guidance: 2},
			Negative: promptsOf(t, from, "near the sea")[0],
		}
		subjectsOf(t, from, "a cat", "").Cycle(&req, 3)
		r, err := p.Generate(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Concat(r.Images[0].Latents, r.Images[1].Latents, r.Images[2].Latents)
	}
	if !slices.Equal(generate(short, exact), generate(short, short)) {
		t.Error("prompts of the model in f32 give other images in bf16 than its own")
	}
	if !slices.Equal(generate(exact, short), generate(exact, exact)) {
		t.Error("prompts of the model in bf16 give other images in f32 than its own")
	}
	p, err := tokencache.Open("testdata/minit2i-tiny", tokencache.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	req := tokencache.Request{Conditions: promptsOf(t, exact, "a cat"), Sampling: tokencache.Sampling{Steps: 2}}
	if err := p.Check(req); err == nil {
		t.Error("a prompt of other weights: no error")
	}
}
