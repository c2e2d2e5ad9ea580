package tokencache_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// doubter is a policy that spoils and rejects every pass of each image the first time, and lets the
// second stand.
type doubter struct{ reuse.None }

func (doubter) NewRun(m seam.Model, plan reuse.Plan, samples int) (reuse.Run, error) {
	run, err := reuse.None{}.NewRun(m, plan, samples)
	return &doubtingRun{Run: run}, err
}

type doubtingRun struct {
	reuse.Run
	passes int
}

func (r *doubtingRun) Finish(out *tensor.Tensor) bool {
	r.passes++
	if r.passes%2 == 1 {
		clear(out.Flat())
		return true
	}
	return false
}

// TestPoliciesThatFinish checks that images of policies that change or reject what passes predict
// are the same alone, in a batch and among other requests, under guidance.
func TestPoliciesThatFinish(t *testing.T) {
	p := open(t, 2)
	for _, text := range []string{
		"easycache:threshold=0.5,warmup=2",
		"easycache:threshold=0.5,warmup=2,halves=separate",
		"fastercache:start=3,n=4,high=6",
		"speca:order=1,min=1,metric=l1,reject=true",
	} {
		t.Run(text, func(t *testing.T) {
			request := tokencache.Request{
				Classes:  []int{1, 2, 3},
				Seed:     5,
				Policy:   policy(t, text),
				Sampling: tokencache.Sampling{Steps: 8, Guidance: 2},
			}
			want := draw(t, p, request)
			var all sync.WaitGroup
			for _, other := range mixed(t) {
				all.Go(func() { p.Generate(t.Context(), other) })
			}
			r, err := p.Generate(t.Context(), request)
			all.Wait()
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(r.Images, func(a, b tokencache.Image) int { return a.Index - b.Index })
			sameImages(t, "among others", r.Images, want)
			if got := r.Stats.FLOPReduction(); !(got > 1) {
				t.Errorf("%g times fewer FLOPs than uncached", got)
			}
			request.Classes = request.Classes[:1]
			sameImages(t, "one image", draw(t, p, request), want[:1])
		})
	}
}

// TestRejectedPasses checks that a pass that a policy rejects is run again from the same input,
// alone and among other requests, and that it is paid for but is no step.
func TestRejectedPasses(t *testing.T) {
	p := open(t, 2)
	request := tokencache.Request{
		Classes:  []int{1, 2, 3},
		Seed:     5,
		Sampling: tokencache.Sampling{Steps: 4, Guidance: 2},
	}
	want := draw(t, p, request)
	request.Policy = doubter{}
	steps := 0
	request.OnStep = func(tokencache.Progress) { steps++ }
	r, err := p.Generate(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	sameImages(t, "every pass rejected once", r.Images, want)
	if steps != 4*3 {
		t.Errorf("%d steps reported, want 12", steps)
	}
	if got := r.Stats.FLOPReduction(); got < 0.49 || got > 0.51 {
		t.Errorf("%g times fewer FLOPs than uncached, want half", got)
	}

	request.OnStep = nil
	var all sync.WaitGroup
	for _, other := range mixed(t) {
		all.Go(func() { p.Generate(t.Context(), other) })
	}
	r, err = p.Generate(t.Context(), request)
	all.Wait()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(r.Images, func(a, b tokencache.Image) int { return a.Index - b.Index })
	sameImages(t, "among others", r.Images, want)
}
