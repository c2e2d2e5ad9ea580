package calibrate

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/train"
)

const tinyModel, tinyVAE = "../testdata/dit-tiny", "../testdata/vae-tiny"

// tiny opens a small model, and returns options for it.
func tiny(t *testing.T) (*tokencache.Pipeline, Options) {
	t.Helper()
	p, err := tokencache.Open(tinyModel, tokencache.Options{VAE: tinyVAE, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, Options{
		Dir: t.TempDir(), Sampling: tokencache.Sampling{Sampler: "ddim", Steps: 8, Guidance: 2}, Seed: 1, Images: 3, Measure: 1, Updates: 3, Batch: 2, LR: 0.01, Threads: 2,
		Open: func() (*dit.Weights, error) { return dit.Open(tinyModel, dit.Options{}) },
	}
}

// reread checks that what was made is what its folder holds, that it runs, and that it is refused for other steps.
func reread(t *testing.T, p *tokencache.Pipeline, o Options, made *reuse.Trained) *reuse.Trained {
	t.Helper()
	got, err := reuse.Open(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Smooth, made.Smooth) || !reflect.DeepEqual(got.Tea, made.Tea) || got.L2C != nil && !reflect.DeepEqual(got.L2C.Logits, made.L2C.Logits) || got.Method != made.Method {
		t.Errorf("read %+v, made %+v", got, made)
	}
	req := tokencache.Request{Classes: []int{1}, Sampling: o.Sampling, Policy: got}
	r, err := p.Generate(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	if r.Stats.CacheBytes == 0 {
		t.Error("the policy was not used")
	}
	req.Steps = 5
	if _, err := p.Generate(context.Background(), req); err == nil || !strings.Contains(err.Error(), "with 8 steps") {
		t.Errorf("error %v for another number of steps", err)
	}
	return got
}

func TestSmoothCacheCalibration(t *testing.T) {
	p, o := tiny(t)
	made, err := SmoothCache(context.Background(), p, SmoothCacheOptions{Options: o, Threshold: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"attn", "mlp"} {
		if list := made.Smooth.Compute[part]; len(list) != 8 || list[0] != 1 || list[7] != 1 {
			t.Errorf("schedule of %s: %v, want 8 steps of which the first and the last compute", part, list)
		}
	}
	if got := reread(t, p, o, made); got.Method != reuse.SmoothCacheMethod {
		t.Errorf("method %s", got.Method)
	}
}

// TestErrorsDoNotDependOnBatches holds that the errors are those of all samples together, however they are drawn.
func TestErrorsDoNotDependOnBatches(t *testing.T) {
	p, o := tiny(t)
	measure := func(batch int) *BranchErrors {
		e := &BranchErrors{Lookahead: 2}
		_, err := p.Generate(context.Background(), tokencache.Request{Classes: []int{1, 2, 3}, Policy: e.Policy(), Batch: batch, Sampling: tokencache.Sampling{Sampler: o.Sampler, Steps: o.Steps}})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	a, b := measure(3), measure(2)
	for block := range a.Blocks {
		for _, part := range []int{0, 1} {
			for j := range 2 {
				for p := range 8 {
					x, ok := a.At(block, part, j, p)
					y, there := b.At(block, part, j, p)
					if ok != (p+j+1 < 8) || ok != there || math.Abs(x-y) > 1e-5*math.Abs(x) {
						t.Fatalf("block %d, part %d, j %d, p %d: %g (%t) and %g (%t)", block, part, j, p, x, ok, y, there)
					}
				}
			}
		}
	}
	// Where nothing may change everything computes, and where anything may all that the lookahead allows is reused.
	if s := a.Schedule(0); slices.Contains(s["attn"], 0) {
		t.Errorf("schedule for 0: %v", s)
	}
	if s := a.Schedule(math.Inf(1)); !slices.Equal(s["mlp"], []int{1, 0, 0, 1, 0, 0, 1, 1}) {
		t.Errorf("schedule for any error: %v", s)
	}
}

func TestTeaCacheCalibration(t *testing.T) {
	p, o := tiny(t)
	made, err := TeaCache(context.Background(), p, TeaCacheOptions{Options: o, Threshold: 0.4})
	if err != nil {
		t.Fatal(err)
	}
	got := reread(t, p, o, made)
	if got.Method != reuse.TeaCacheMethod || len(got.Tea.Coefficients) != 5 || !(got.Tea.High > got.Tea.Low) {
		t.Errorf("method %s with %+v", got.Method, got.Tea)
	}
	if made.Provenance["pairs"] != 2*3*7 { // guidance's halves, images, steps after the first
		t.Errorf("fitted to %v pairs, want %d", made.Provenance["pairs"], 2*3*7)
	}
}

// TestPolynomial holds that a polynomial is found, and that a lower one is where there are few points.
func TestPolynomial(t *testing.T) {
	want := []float64{0.1, -2, 30, 0, 500}
	var x, y []float64
	for i := range 30 {
		v := 0.05 + 0.01*float64(i)
		x = append(x, v)
		y = append(y, want[0]+v*(want[1]+v*(want[2]+v*v*want[4])))
	}
	c, left, err := polynomial(x, y, 4)
	if err != nil || left > 1e-9 {
		t.Fatalf("error %g is left: %v", left, err)
	}
	for k := range want {
		if math.Abs(c[k]-want[k]) > 1e-4*(1+math.Abs(want[k])) {
			t.Errorf("coefficients %v, want %v", c, want)
			break
		}
	}
	c, left, err = polynomial([]float64{1, 1, 3}, []float64{2, 2, 6}, 4)
	if err != nil || left > 1e-9 || len(c) != 2 || math.Abs(c[1]-2) > 1e-9 {
		t.Errorf("through two points: %v, %g left, %v", c, left, err)
	}
	for _, bad := range [][]float64{nil, {0, 0}, {math.NaN()}} {
		if _, _, err := polynomial(bad, bad, 4); err == nil {
			t.Errorf("no error for %v", bad)
		}
	}
}

func TestL2CTraining(t *testing.T) {
	p, o := tiny(t)
	o.Updates, o.LR = 8, 0.5
	options := L2COptions{Options: o, L1: 0.5, Threshold: 0.4}
	var first, last float64
	options.OnUpdate = func(r train.StepStats) {
		if r.Step == 1 {
			first = r.Measures["cost"]
		}
		last = r.Measures["cost"]
	}
	made, err := L2C(context.Background(), p, options)
	if err != nil {
		t.Fatal(err)
	}
	if got := reread(t, p, o, made); got.Method != reuse.L2CMethod {
		t.Errorf("method %s", got.Method)
	}
	if !(last < first) {
		t.Errorf("the cost went from %g to %g although it weighs much", first, last)
	}
	for step, row := range made.L2C.Logits {
		moved := slices.ContainsFunc(row, func(v float32) bool { return v != 0 })
		if moved != (step%2 == 0) { // the first step, 7, is odd
			t.Errorf("router of step %d: %v", step, row)
		}
	}

	// A run that was interrupted goes on where it was.
	p, o = tiny(t)
	o.Updates, o.LR = 3, 0.5
	options.Options = o
	if _, err := L2C(context.Background(), p, options); err != nil {
		t.Fatal(err)
	}
	options.Updates = 8
	ctx, cancel := context.WithCancel(context.Background())
	options.OnUpdate = func(r train.StepStats) {
		if r.Step < 4 {
			t.Errorf("update %d was made again", r.Step)
		}
		if r.Step == 5 {
			cancel()
		}
	}
	if _, err := L2C(ctx, p, options); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v of an interrupted training", err)
	}
	options.OnUpdate = nil
	resumed, err := L2C(context.Background(), p, options)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(resumed.L2C.Logits, made.L2C.Logits) {
		t.Error("a training in pieces differs from one in one go")
	}
	for _, bad := range []L2COptions{{Options: o, Threshold: 1}, {Options: o, Threshold: 0.1, L1: -1}} {
		if _, err := L2C(context.Background(), p, bad); err == nil {
			t.Error("no error for a threshold or a weight that has no meaning")
		}
	}
}
