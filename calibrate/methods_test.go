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
	"github.com/tokencache/tokencache/checkpoint"
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
	o := Defaults()
	o.Dir = t.TempDir()
	o.Sampling = tokencache.Sampling{Sampler: "ddim", Steps: 8, Guidance: 2}
	o.Images, o.Measure, o.Threads = 3, 1, 2
	o.Open = func() (Weights, error) { return WeightsOf(dit.Open(tinyModel, dit.Options{})) }
	return p, o
}

// reread checks that the folder of a policy holds it, that it runs, and that it is refused for
// other steps.
func reread(t *testing.T, p *tokencache.Pipeline, o Options, made *reuse.Trained) *reuse.Trained {
	t.Helper()
	got, err := reuse.Open(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	same := got.Method == made.Method && reflect.DeepEqual(got.Smooth, made.Smooth) &&
		reflect.DeepEqual(got.Tea, made.Tea) && reflect.DeepEqual(got.Mag, made.Mag) &&
		reflect.DeepEqual(got.DP, made.DP) && reflect.DeepEqual(got.CEM, made.CEM) &&
		reflect.DeepEqual(got.L2P, made.L2P) &&
		(got.L2C == nil || reflect.DeepEqual(got.L2C.Logits, made.L2C.Logits))
	if !same {
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
	made, err := Run(context.Background(), p, &SmoothCache{Threshold: 0.5, Lookahead: 3}, o)
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

// TestErrorsDoNotDependOnBatches checks that the errors are those of all samples together, whatever
// their batches.
func TestErrorsDoNotDependOnBatches(t *testing.T) {
	p, o := tiny(t)
	measure := func(batch int) *BranchErrors {
		e := &BranchErrors{Lookahead: 2}
		_, err := p.Generate(context.Background(), tokencache.Request{
			Classes:  []int{1, 2, 3},
			Policy:   e.Policy(),
			Batch:    batch,
			Sampling: tokencache.Sampling{Sampler: o.Sampler, Steps: o.Steps},
		})
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
	// Where nothing may change everything computes, and where anything may all that the lookahead
	// allows is reused.
	if s := a.Schedule(0); slices.Contains(s["attn"], 0) {
		t.Errorf("schedule for 0: %v", s)
	}
	if s := a.Schedule(math.Inf(1)); !slices.Equal(s["mlp"], []int{1, 0, 0, 1, 0, 0, 1, 1}) {
		t.Errorf("schedule for any error: %v", s)
	}
}

func TestTeaCacheCalibration(t *testing.T) {
	p, o := tiny(t)
	made, err := Run(context.Background(), p, &TeaCache{Threshold: 0.4}, o)
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

// TestRecordedPolynomial checks the polynomial of recorded pairs of changes against the recorded
// one, by their values where the pairs are.
func TestRecordedPolynomial(t *testing.T) {
	c, err := checkpoint.Open("../testdata/cache-methods-2026/teacache.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	read := func(name string) []float64 {
		list, err := c.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		wide := make([]float64, len(list))
		for i, v := range list {
			wide[i] = float64(v)
		}
		return wide
	}
	x, highestFirst := read("fit_x"), read("coefficients")
	got, _, err := polynomial(x, read("fit_y"), teaDegree)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range x {
		have, want := 0.0, 0.0
		for i := range highestFirst {
			have, want = have*v+got[len(got)-1-i], want*v+highestFirst[i]
		}
		if !(math.Abs(have-want) < 1e-5) {
			t.Errorf("%g at %g, want %g", have, v, want)
		}
	}
}

// TestMagCacheCalibration checks that ratios are measured, that a threshold is found for a speed,
// and that another number of images in a pass changes nothing.
func TestMagCacheCalibration(t *testing.T) {
	p, o := tiny(t)
	o.Speed = 1.5
	made, err := Run(context.Background(), p, NewMagCache(), o)
	if err != nil {
		t.Fatal(err)
	}
	got := reread(t, p, o, made)
	ratios := got.Mag.Ratios
	if got.Method != reuse.MagCacheMethod || len(ratios) != 8 || ratios[0] != 1 || slices.Max(ratios) == 1 {
		t.Errorf("method %s with %+v", got.Method, got.Mag)
	}
	if made.Speed.FLOPs < 1.2 || made.Speed.FLOPs > 1.8 {
		t.Errorf("%.2f times fewer FLOPs, want about 1.5", made.Speed.FLOPs)
	}
	var lists [][]float64
	for _, batch := range []int{1, 3} {
		r := new(MagnitudeRatios)
		_, err := p.Generate(context.Background(), tokencache.Request{
			Classes:  []int{1, 2, 3},
			Policy:   r.Policy(),
			Batch:    batch,
			Sampling: o.Sampling,
		})
		if err != nil {
			t.Fatal(err)
		}
		cond, null := r.Halves()
		if slices.Equal(cond, null) {
			t.Errorf("both halves have the ratios %v", cond)
		}
		lists = append(lists, slices.Concat(r.Ratios(), cond, null))
	}
	for i, v := range lists[0] {
		if math.Abs(v-lists[1][i]) > 1.5e-5 {
			t.Errorf("ratio %d: %g and %g in other batches", i, v, lists[1][i])
		}
	}
}

// TestMagCacheBounds checks that what bounds a MagCache's speed is changed as far as a speed needs:
// a share r at the start and then one step of k+1 make it 1/(r + (1-r)/(k+1)) at most.
func TestMagCacheBounds(t *testing.T) {
	for _, test := range []struct {
		speed, retention float64
		skips            int
	}{
		{1.5, 0.2, 3},
		{3, 0.1, 4},   // 3 skips would make it 3.08
		{4, 0.1, 7},   // 6 would make it 4.38
		{20, 0.1, 50}, // cannot be met
	} {
		p := reuse.NewMagCache()
		if allow(p, test.speed, 50); p.Retention != test.retention || p.Skips != test.skips {
			t.Errorf("%gx: retention %g and %d skips, want %g and %d",
				test.speed, p.Retention, p.Skips, test.retention, test.skips)
		}
	}
}

// TestPolynomial checks that a polynomial is found, and one of lower degree where there are few
// points.
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

// TestL2CTraining checks that only even steps have routers, that the cost is trained, and that an
// interrupted training ends as one in one go.
func TestL2CTraining(t *testing.T) {
	p, o := tiny(t)
	method := &L2C{L1: 0.5, Threshold: 0.4, LR: 0.5, Updates: 8, Batch: 2}
	var first, last float64
	o.OnUpdate = func(r train.StepStats) {
		if r.Step == 1 {
			first = r.Measures["cost"]
		}
		last = r.Measures["cost"]
	}
	made, err := Run(context.Background(), p, method, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := reread(t, p, o, made); got.Method != reuse.L2CMethod {
		t.Errorf("method %s", got.Method)
	}
	if !(last < first) {
		t.Errorf("the cost went from %g to %g although its weight is large", first, last)
	}
	for step, row := range made.L2C.Logits {
		moved := slices.ContainsFunc(row, func(v float32) bool { return v != 0 })
		if moved != (step%2 == 0) { // the first step, 7, is odd
			t.Errorf("router of step %d: %v", step, row)
		}
	}

	p, o = tiny(t)
	few := *method
	few.Updates = 3
	if _, err := Run(context.Background(), p, &few, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.OnUpdate = func(r train.StepStats) {
		if r.Step < 4 {
			t.Errorf("update %d was made again", r.Step)
		}
		if r.Step == 5 {
			cancel()
		}
	}
	if _, err := Run(ctx, p, method, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v of an interrupted training", err)
	}
	o.OnUpdate = nil
	resumed, err := Run(context.Background(), p, method, o)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(resumed.L2C.Logits, made.L2C.Logits) {
		t.Error("a training in pieces differs from one in one go")
	}
}

// TestRunRefuses checks that options and parameters without a meaning are refused before anything
// is computed.
func TestRunRefuses(t *testing.T) {
	p, o := tiny(t)
	o.OnStage = func(what string) { t.Errorf("%s: begun", what) }
	learned := func(set func(c *TokenCache)) *TokenCache {
		c := NewTokenCache()
		set(c)
		return c
	}
	l2c := func(set func(c *L2C)) *L2C {
		c := NewL2C()
		set(c)
		return c
	}
	for _, c := range []struct {
		name   string
		method Method
		speed  float64
		want   string
	}{
		{"speed", NewSmoothCache(), 0.5, "a speed of 0.5: want more than 1"},
		{"threshold", &SmoothCache{Lookahead: 1}, 0, "threshold 0 and lookahead 1"},
		{"lookahead", &SmoothCache{Threshold: 1}, 0, "threshold 1 and lookahead 0"},
		{"sum", &TeaCache{Threshold: -1}, 0, "threshold -1: want more than 0"},
		{"key steps", &DPCache{}, 0, "0 key steps at the start and 0 at the end"},
		{"full steps", &DPCache{First: 1, Full: 9}, 0, "9 full steps: want 1 to 8"},
		{"full steps and speed", &DPCache{First: 1, Full: 4}, 2, "4 full steps and a speed of 2x"},
		{"gaps", &CEM{Weight: "cubic"}, 0, `unknown weight of gaps "cubic": want none, linear or quadratic`},
		{"interval", &CEM{Weight: CEMNone, Interval: -1}, 0, "gaps that differ by -1"},
		{"feature", &L2P{First: 1, Feature: "noise", Columns: AllColumns}, 0, `unknown feature "noise"`},
		{"columns", &L2P{First: 1, Feature: reuse.OutputFeature}, 0, `unknown columns ""`},
		{"weight", l2c(func(c *L2C) { c.Threshold = 1 }), 0, "threshold between 0 and 1"},
		{"cost", l2c(func(c *L2C) { c.L1 = -1 }), 0, "weight of the cost -1"},
		{"ratio", learned(func(c *TokenCache) { c.Base.Ratio = 0.5 }), 2, "ratio=0.5 and learned=true"},
		{"percentile", learned(func(c *TokenCache) { c.Percentile = true }), 0, "percentiles of I-steps"},
		{"trials", learned(func(c *TokenCache) { c.Trials = -1 }), 0, "-1 trials of 16 images"},
		{"weighting", learned(func(c *TokenCache) { c.Weighting = "none" }), 0, "unknown weighting"},
		{"half steps", learned(func(c *TokenCache) { c.Base.Steps.Half = []int{2} }), 2, "half= says which"},
		{"listed steps", learned(func(c *TokenCache) { c.Base.Steps.List = []int{0, 2} }), 0, "i= says which"},
		{"second phase", learned(func(c *TokenCache) { c.Base.Steps.K2 = 2 }), 0, "k2= and boundary="},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := o
			o.Speed = c.speed
			_, err := Run(context.Background(), p, c.method, o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestNewMethod checks that methods have their names and defaults that they accept.
func TestNewMethod(t *testing.T) {
	p, o := tiny(t)
	for _, name := range []string{
		reuse.TokenCacheMethod, reuse.SmoothCacheMethod, reuse.TeaCacheMethod, reuse.MagCacheMethod,
		reuse.L2CMethod, reuse.DPCacheMethod, reuse.CEMMethod, reuse.L2PMethod,
	} {
		m, err := NewMethod(name)
		if err != nil {
			t.Fatal(err)
		}
		o.Sampling = o.Sampling.WithDefaults()
		if err := m.check(makerOf(t, p, o)); err != nil || m.Name() != name {
			t.Errorf("%s: %v by default", m.Name(), err)
		}
	}
	if _, err := NewMethod("fora"); err == nil {
		t.Error("no error for a method that is not calibrated")
	}
}
