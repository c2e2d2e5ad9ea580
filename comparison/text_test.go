package comparison

import (
	"errors"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// TestPrompts checks that a comparison of a text-to-image model shows its prompts in turn, each
// image as it is alone whatever the batch, that results say the prompts, and that a folder's
// results are not taken for those of other prompts.
func TestPrompts(t *testing.T) {
	p, err := tokencache.Open("../testdata/minit2i-pipeline-tiny", tokencache.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	subjects := func(prompts ...string) *tokencache.Subjects {
		s, _, err := p.Subjects(t.Context(), prompts)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const policy = "tokencache:k=2,ratio=0.5,importance=update-norm"
	o := Options{
		Dir:      t.TempDir(),
		Pipeline: p,
		Sampling: tokencache.Sampling{Sampler: "euler", Steps: 4, Guidance: 2},
		Seed:     7,
		Policies: []string{policy},
		Count:    3,
		Timed:    1,
		Repeat:   1,
		Batch:    3,
		Open:     func(text string) (reuse.Policy, error) { return reuse.Parse(text) },
	}
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("no prompts: no error")
	}
	o.Subjects = subjects("a cat", "near the sea")
	if err := Check(o); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if failed := r.Failed(); len(failed) > 0 {
		t.Fatal(failed[0].Error)
	}
	if got := r.Prompts; !slices.Equal(got, o.Subjects.Prompts()) {
		t.Errorf("the results are of prompts %q", got)
	}
	again := o
	again.Dir, again.Batch = t.TempDir(), 1
	alone, err := Run(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	cached, err := reuse.Parse(policy)
	if err != nil {
		t.Fatal(err)
	}
	for i := range o.Count {
		req := tokencache.Request{Seed: o.Seed, Sampling: o.Sampling, Policy: cached}
		req.Skip = func(k int) bool { return k != i }
		for range o.Count { // all images show its prompt, and it alone is generated
			req.Conditions = append(req.Conditions, o.Subjects.Condition(i))
		}
		want, err := p.Generate(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []*Result{r, alone} {
			if !slices.Equal(r.Images[1][i].Pixels, want.Images[0].Pixels) {
				t.Errorf("image %d in a batch of %d is not %q alone", i, r.Batch, o.Subjects.Prompts()[i%2])
			}
		}
	}
	o.Subjects = subjects("a cat", "a dog")
	var conflict *ConflictError
	if _, err := Run(t.Context(), o); !errors.As(err, &conflict) {
		t.Errorf("other prompts in the same folder: error %v", err)
	}
}
