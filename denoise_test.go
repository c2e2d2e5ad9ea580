package tokencache_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// TestSharedBatches holds that processors which share a batch's images draw what one processor draws, do what it does, and tell of it in the same order, whatever is reused.
func TestSharedBatches(t *testing.T) {
	policies := []string{"none", "tokencache:importance=update-norm,ratio=0.5,k=2,order=1", "tokencache:importance=random,ratio=0.25,k=3", "fbcache:threshold=0.2", "taylorseer:n=2,order=1", "toca:n=2,ratio=0.5", "tome:ratio=0.3"}
	learned, dynamic := learnedPolicy(4), reuse.DefaultTokenCache()
	dynamic.Importance, dynamic.Predictor = reuse.Dynamic, newPredictor(t)
	for i, name := range append(policies, "learned", "dynamic") {
		policy, err := reuse.Parse(name)
		switch {
		case name == "learned":
			policy = learned
		case name == "dynamic":
			policy = &dynamic
		case err != nil:
			t.Fatal(err)
		}
		request := tokencache.Request{Classes: []int{0, 5, 9, 5, 1, 2, 3}, Seed: 7, RNG: []tokencache.RNG{tokencache.RNGTorch, tokencache.RNGOwn}[i%2], Sampler: "ddpm", Steps: "4", Guidance: 3, Batch: 4, Policy: policy}
		type told struct {
			index, position int
			sum             float64
		}
		run := func(threads int, undivided bool) (*tokencache.Result, []told) {
			var list []told
			request.Undivided = undivided
			request.OnState = func(index, position int, x []float32) { list = append(list, told{index, position, sum(x)}) }
			request.OnPrediction = func(index, position int, x []float32) { list = append(list, told{index, -1 - position, sum(x)}) }
			r, err := open(t, threads).Generate(context.Background(), request)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r.Stats.DenoiseSeconds, r.Stats.DecodeSeconds, r.Stats.Threads = 0, 0, 0
			return r, list
		}
		want, wantTold := run(1, false)
		check := func(threads int, undivided bool) {
			got, gotTold := run(threads, undivided)
			at := fmt.Sprintf("%s, %s, %d threads, undivided %v", name, request.RNG, threads, undivided)
			if strings.HasPrefix(name, "fbcache") {
				got.Stats.FLOPs = want.Stats.FLOPs // a lane none of whose samples computes leaves out more
			}
			if got.Stats != want.Stats {
				t.Errorf("%s: did %+v, want %+v", at, got.Stats, want.Stats)
			}
			if !slices.Equal(gotTold, wantTold) {
				t.Errorf("%s: states and predictions were told differently", at)
			}
			for i := range want.Images {
				if !slices.Equal(got.Images[i].Latents, want.Images[i].Latents) {
					t.Errorf("%s: image %d differs", at, i)
				}
			}
		}
		check(2, true)
		check(2, false)
		check(4, false)
	}
}

// learnedPolicy has half steps and learned forecasts, of the last value.
func learnedPolicy(steps int) *reuse.TokenCache {
	p := reuse.DefaultTokenCache()
	p.Ratio, p.Learned, p.Forecast = 0, true, reuse.NewForecast(steps, 2)
	p.Steps = reuse.StepChoice{Kind: reuse.ListedSteps, Warmup: 1, List: []int{0}, Half: []int{2}}
	for i := range steps {
		p.Forecast.At(i)[0] = 1
	}
	return &p
}

// newPredictor returns a dynamic predictor for the small model that is not trained.
func newPredictor(t *testing.T) *reuse.Predictor {
	w, err := dit.Open("testdata/dit-tiny", dit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	m, err := w.Load()
	if err != nil {
		t.Fatal(err)
	}
	c := reuse.NewPredictorConfig(reuse.Dynamic, m)
	p, err := reuse.NewPredictor(c, reuse.FreshPredictor{Config: c, Model: w, Block: m.BlockName(0)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPredictorOfOtherHeads holds that a predictor whose block has another number of heads than the model is refused: no tensor tells.
func TestPredictorOfOtherHeads(t *testing.T) {
	policy := reuse.DefaultTokenCache()
	policy.Importance, policy.Predictor = reuse.Dynamic, newPredictor(t)
	policy.Predictor.Heads *= 2
	err := open(t, 1).Check(tokencache.Request{Classes: []int{1}, Policy: &policy})
	if err == nil || !strings.Contains(err.Error(), "heads; this one has") {
		t.Errorf("error %v", err)
	}
}

// TestCancelledLanes holds that lanes stop when the context is done, and draw as before in the next run.
func TestCancelledLanes(t *testing.T) {
	p := open(t, 2)
	request := tokencache.Request{Classes: []int{1, 2, 3, 4}, Seed: 1, Steps: "4", Guidance: 2}
	want := draw(t, p, request)
	ctx, cancel := context.WithCancel(context.Background())
	request.OnStep = func(s tokencache.Progress) {
		if s.Step == 2 {
			cancel()
		}
	}
	if r, err := p.Generate(ctx, request); !errors.Is(err, context.Canceled) || len(r.Images) != 0 {
		t.Errorf("cancelled after two steps: %v", err)
	}
	request.OnStep = nil
	for i, img := range draw(t, p, request) {
		if !slices.Equal(img.Latents, want[i].Latents) {
			t.Errorf("after a cancelled run image %d differs", i)
		}
	}
}

func sum(x []float32) (s float64) {
	for i, v := range x {
		s += float64(v) * math.Sqrt(float64(i+1))
	}
	return s
}

// TestSharedBatchesKeepWithinTheMemory holds that what all of a batch's runs keep counts against the limit, and is told of in one sum.
func TestSharedBatchesKeepWithinTheMemory(t *testing.T) {
	policy, err := reuse.Parse("taylorseer:n=2,order=1")
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, 2)
	request := tokencache.Request{Classes: []int{1, 2, 3, 4}, Steps: "2", Policy: policy}
	r, err := p.Generate(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	request.CacheMemory = r.Stats.CacheBytes
	if r, err = p.Generate(context.Background(), request); err != nil || r.Stats.CacheBytes != request.CacheMemory {
		t.Errorf("the limit just met: %v", err)
	}
	for _, request.CacheMemory = range []int64{request.CacheMemory - 1, 1} {
		if _, err = p.Generate(context.Background(), request); err == nil || !strings.Contains(err.Error(), "for 4 samples needs") {
			t.Errorf("a limit of %d bytes: %v", request.CacheMemory, err)
		}
	}
}

// sizes is a policy that notes for how many samples it was made.
type sizes struct {
	reuse.None
	samples []int
}

func (s *sizes) NewRun(g *tensor.Graph, m *dit.Model, plan reuse.Plan, samples int, limit int64) (reuse.Run, error) {
	s.samples = append(s.samples, samples)
	return s.None.NewRun(g, m, plan, samples, limit)
}

// TestHowBatchesAreShared holds that every lane has the same number of images and of processors, and that nobody shares an undivided batch.
func TestHowBatchesAreShared(t *testing.T) {
	for _, c := range []struct {
		threads, images, batch int
		undivided              bool
		want                   []int
	}{
		{1, 4, 4, false, []int{8}},
		{2, 4, 4, false, []int{4, 4}},
		{2, 4, 4, true, []int{8}},
		{2, 6, 4, false, []int{4, 4}}, // the last batch has two images, one for each
		{2, 5, 4, false, []int{4, 4, 2}},
		{3, 4, 4, false, []int{8}},
		{4, 6, 6, false, []int{6, 6}},
		{4, 6, 4, false, []int{2, 2, 2, 2, 2, 2}}, // four lanes, and two of two processors for the last batch
		{8, 4, 4, false, []int{2, 2, 2, 2}},
		{2, 1, 4, false, []int{2}},
	} {
		s := &sizes{}
		request := tokencache.Request{Classes: make([]int, c.images), Steps: "1", Guidance: 2, Batch: c.batch, Policy: s, Undivided: c.undivided}
		draw(t, open(t, c.threads), request)
		if !slices.Equal(s.samples, c.want) {
			t.Errorf("%d threads, %d images in batches of %d, undivided %v: runs for %v samples, want %v", c.threads, c.images, c.batch, c.undivided, s.samples, c.want)
		}
	}
}
