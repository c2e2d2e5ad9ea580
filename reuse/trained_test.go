package reuse_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// calibrated are trained policies of every method but TokenCache.
func calibrated(branches int) map[string]*reuse.Trained {
	return map[string]*reuse.Trained{
		reuse.SmoothCacheMethod: {Smooth: &reuse.SmoothCache{
			Threshold: 0.2,
			Compute:   map[string][]int{"attn": {1, 0, 1, 0, 0, 1, 0, 1}, "mlp-1": {1, 0, 0}},
		}},
		reuse.TeaCacheMethod: {Tea: &reuse.TeaCache{
			Threshold:    1,
			Coefficients: []float64{0.25, 1},
			Low:          0.1,
			High:         2,
		}},
		reuse.MagCacheMethod: {Mag: &reuse.MagCache{
			Threshold:  0.2,
			Skips:      2,
			Retention:  0.25,
			Ratios:     []float64{1, 1, 0.95, 1.05, 1, 0.9, 0.9, 1.2},
			NullRatios: []float64{1, 1, 1, 1.1, 1, 1, 0.9, 1.3},
		}},
		reuse.L2CMethod: {L2C: &reuse.L2C{Threshold: 0.1, Logits: routers(8, branches)}},
		reuse.DPCacheMethod: {DP: &reuse.DPCache{
			KeySteps: reuse.KeySteps{List: []int{0, 2, 5}, Warmup: 1},
			Order:    2,
		}},
		reuse.CEMMethod: {CEM: &reuse.CEM{
			KeySteps:  reuse.KeySteps{List: []int{0, 3, 5}, Warmup: 1},
			Ratio:     0.5,
			Scheduler: reuse.ConstantRatio,
			Bonus:     0.8,
		}},
		reuse.L2PMethod:  {L2P: l2pOf(0, 1, 4)},
		reuse.SpecMethod: {Spec: "fora:n=2"},
	}
}

// TestTrainedMethods checks that trained policies of all methods are read as they were saved, do
// what their method does, and are refused for what they were not made for.
func TestTrainedMethods(t *testing.T) {
	m := model(t)
	branches := 2 * m.Shape().Blocks
	for method, saved := range calibrated(branches) {
		t.Run(method, func(t *testing.T) {
			saved.Model, saved.Fingerprint, saved.Sampling = "DiT", m.Shape().Fingerprint, plan.Sampling
			var learned func(string) error
			var direct reuse.Policy
			switch {
			case saved.Smooth != nil:
				direct = saved.Smooth
			case saved.Tea != nil:
				direct = saved.Tea
			case saved.Mag != nil:
				direct = saved.Mag
			case saved.Spec != "":
				direct = &reuse.FORA{N: 2}
			case saved.DP != nil:
				direct = saved.DP
			case saved.CEM != nil:
				direct = saved.CEM
			case saved.L2P != nil:
				direct, learned = saved.L2P, saved.L2P.Write
			default:
				direct, learned = saved.L2C, saved.L2C.Write
			}
			dir := t.TempDir()
			if err := saved.Save(dir, learned); err != nil {
				t.Fatal(err)
			}
			got, err := reuse.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			alike := reflect.DeepEqual(got.Smooth, saved.Smooth) && reflect.DeepEqual(got.Tea, saved.Tea) &&
				reflect.DeepEqual(got.Mag, saved.Mag) && reflect.DeepEqual(got.L2C, saved.L2C) &&
				reflect.DeepEqual(got.DP, saved.DP) && reflect.DeepEqual(got.CEM, saved.CEM) &&
				reflect.DeepEqual(got.L2P, saved.L2P) && got.Spec == saved.Spec
			if got.Method != method || !alike {
				t.Errorf("read %+v, saved %+v", got, saved)
			}
			batches := inputs(m, 2)
			want, _, _ := outputs(t, m, direct, batches, 1)
			have, stats, _ := outputs(t, m, got, batches, 2)
			if diff := same(want, have); diff != "" || stats.PSteps == 0 {
				t.Errorf("%d P-steps: %s", stats.PSteps, diff)
			}

			other := plan
			other.Sampling.Steps = 9
			_, err = got.NewRun(m, other, 1)
			if want := "sampler ddim with 8 steps, not for ddim with 9"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v for other steps", err)
			}
			got.Fingerprint = "0"
			if _, err := got.NewRun(m, plan, 1); err == nil || !strings.Contains(err.Error(), "another model") {
				t.Errorf("error %v for another model", err)
			}
		})
	}
	none := reuse.Trained{}
	if err := none.Save(t.TempDir(), nil); err == nil {
		t.Error("no error for a policy of no method")
	}
}

// TestBadTrainedMethods checks that errors name what is wrong in a policy's folder.
func TestBadTrainedMethods(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`{"format":1,"method":"smoothcache","teacache":{"threshold":1}}`,
			"want format 1 of tokencache, smoothcache, teacache, magcache, l2c, dpcache, cem, l2p or named"},
		{`{"format":1,"method":"teacache","teacache":{"threshold":1},"l2c":{"threshold":1}}`, "with that policy alone"},
		{`{"format":2,"method":"teacache","teacache":{"threshold":1}}`, "format 2"},
		{`{"format":1,"method":"teacache","teacache":{"threshold":-1}}`, "policy.json: teacache: threshold=-1"},
		{`{"format":1,"method":"teacache","teacache":{"speed":1}}`, "unknown field"},
		{`{"format":1,"method":"teacache","teacache":{"threshold":1}}`, "policy.json: no steps"},
		{`{"format":1,"method":"teacache","steps":"many","teacache":{"threshold":1}}`, `steps "many"`},
		{`{"format":1,"method":"smoothcache","smoothcache":{"threshold":1}}`, "no schedule"},
		{`{"format":1,"method":"smoothcache","smoothcache":{"threshold":1,"compute":{"conv":[1]}}}`, `"conv"`},
		{`{"format":1,"method":"smoothcache","smoothcache":{"threshold":1,"compute":{"attn":[1,2]}}}`, "has a 2"},
		{`{"format":1,"method":"named","named":"fora:n=many"}`, "policy.json: policy fora: n=many"},
		{`{"format":1,"method":"l2c","l2c":{"threshold":0.1}}`, "predictor.safetensors"},
		{`{"format":1,"method":"l2p","l2p":{"i":[0,1],"feature":"output"}}`, "predictor.safetensors"},
		{`{"format":1,"method":"dpcache","dpcache":{"i":[0,3,2],"warmup":1,"order":2}}`, "dpcache: i: position 2 after 3"},
		{`{"format":1,"method":"cem","cem":{"warmup":1,"n":3,"ratio":0.1,"scheduler":"all"}}`, "cem: scheduler=all"},
	} {
		t.Run(test.text, func(t *testing.T) {
			_, err := reuse.OpenFS(fstest.MapFS{reuse.PolicyFile: {Data: []byte(test.text)}}, ".")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	m := model(t)
	for what, p := range map[string]reuse.Policy{
		"a block that is not there": &reuse.SmoothCache{Compute: map[string][]int{"attn-4": {1}}},
		"too long a schedule":       &reuse.SmoothCache{Compute: map[string][]int{"attn": make([]int, 9)}},
		"too few routers":           &reuse.L2C{Logits: routers(7, 8)},
		"routers of other branches": &reuse.L2C{Logits: routers(8, 6)},
		"no routers":                &reuse.L2C{},
		"no weights":                &reuse.L2P{List: []int{0}, Feature: reuse.OutputFeature},
		"weights of other steps":    &reuse.L2P{List: []int{0}, Feature: reuse.OutputFeature, Weights: [][]float32{{0}}},
		"a key step after the end":  &reuse.DPCache{KeySteps: reuse.KeySteps{List: []int{0, 8}, Warmup: 1}},
		"no first step":             l2pOf(1, 4),
	} {
		if _, err := p.NewRun(m, plan, 1); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// TestRouterFiles checks that routers are read from the method's own files, and from ours, and that
// damaged ones are refused.
func TestRouterFiles(t *testing.T) {
	f, err := checkpoint.Open("../testdata/cache-methods/l2c.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := f.Float32("router_logits")
	if err != nil {
		t.Fatal(err)
	}
	check := func(path string) {
		t.Helper()
		p, err := reuse.Parse("l2c:threshold=0.1,router=" + path)
		if err != nil {
			t.Fatal(err)
		}
		var got []float32
		for _, row := range p.(*reuse.L2C).Logits {
			got = append(got, row...)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s has other logits", path)
		}
	}
	official := "../testdata/cache-methods/l2c_router.pt"
	check(official)
	p, _ := reuse.Parse("l2c:router=" + official)
	own := filepath.Join(t.TempDir(), "routers.safetensors")
	if err := p.(*reuse.L2C).Write(own); err != nil {
		t.Fatal(err)
	}
	check(own)

	bad := &reuse.L2C{Logits: [][]float32{{1, float32(math.NaN())}}}
	if err := bad.Write(own); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "damaged.safetensors")
	if err := os.WriteFile(damaged, []byte("damaged"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"l2c", "l2c:router=nowhere.pt", "l2c:router=" + own, "l2c:router=" + damaged,
		"l2c:router=../testdata/cache-methods/model.safetensors", "l2c:threshold=2,router=" + official,
	} {
		if _, err := reuse.Parse(text); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

// TestTrainedPolicy checks that a policy is read as it was saved, and refused for what it was not
// made for.
func TestTrainedPolicy(t *testing.T) {
	m := model(t)
	policy := reuse.NewTokenCache()
	policy.Ratio, policy.Learned = 0, true
	policy.Steps = reuse.StepChoice{Kind: reuse.ListedSteps, List: []int{0, 3}}
	policy.Forecast = reuse.NewForecast(8, 1)
	saved := &reuse.Trained{
		Policy:      policy,
		Model:       "DiT",
		Fingerprint: m.Shape().Fingerprint,
		Sampling:    plan.Sampling,
	}
	dir := t.TempDir()
	if err := saved.Save(dir, policy.Forecast.Write); err != nil {
		t.Fatal(err)
	}
	got, err := reuse.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Policy, policy) {
		t.Errorf("read %+v, saved %+v", got.Policy, policy)
	}
	if _, err := got.NewRun(m, plan, 1); err != nil {
		t.Errorf("refused for what it was made for: %v", err)
	}
	other := plan
	other.Sampler = "ddpm"
	_, err = got.NewRun(m, other, 1)
	if want := "sampler ddim with 8 steps, not for ddpm with 8"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v for another sampler", err)
	}
	noisy := plan
	noisy.Eta = 1
	_, err = got.NewRun(m, noisy, 1)
	var mismatch *reuse.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Field != "Eta" || !strings.Contains(err.Error(), "eta 0, not for eta 1") {
		t.Errorf("error %v for another eta", err)
	}
	got.Fingerprint = "0"
	if _, err := got.NewRun(m, plan, 1); err == nil || !strings.Contains(err.Error(), "another model") {
		t.Errorf("error %v for another model", err)
	}
	for name, content := range map[string]string{
		reuse.PolicyFile:    `{"format":1,"method":"tokencache"}`,
		reuse.PredictorFile: "damaged",
	} {
		if err := saved.Save(dir, policy.Forecast.Write); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := reuse.Open(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s damaged: error %v", name, err)
		}
	}
}

// TestTrainedSampler checks that policy.json keeps all of a sampling, and that a policy is refused for
// other options of its solver.
func TestTrainedSampler(t *testing.T) {
	made := diffusion.Sampling{
		Sampler:  "unipc",
		Order:    3,
		Variant:  "bh1",
		Steps:    19,
		Spacing:  "logsnr",
		Guidance: 1.5,
		Final:    diffusion.FinalSigmaMin,
	}
	dir := t.TempDir()
	if err := (&reuse.Trained{Spec: "none", Sampling: made}).Save(dir, nil); err != nil {
		t.Fatal(err)
	}
	got, err := reuse.Open(dir)
	if err != nil || got.Sampling != made {
		t.Fatalf("read %+v (%v), saved %+v", got.Sampling, err, made)
	}
	other := reuse.Plan{Sampling: made}
	if err := got.Fits("", other); err != nil {
		t.Errorf("refused for what it was made for: %v", err)
	}
	other.Order = 2
	var mismatch *reuse.MismatchError
	if err := got.Fits("", other); !errors.As(err, &mismatch) || mismatch.Field != "Solver" ||
		!strings.Contains(err.Error(), `"order":3`) {
		t.Errorf("error %v for another order", err)
	}
}

// TestSaw checks that a policy knows the seeds of the images it was made from, before it is saved
// and after.
func TestSaw(t *testing.T) {
	saved := &reuse.Trained{
		Spec:       "fora:n=2",
		Sampling:   plan.Sampling,
		Provenance: map[string]any{"seed": uint64(1001), "other_seeds": []any{uint64(1)}},
	}
	dir := t.TempDir()
	if err := saved.Save(dir, nil); err != nil {
		t.Fatal(err)
	}
	read, err := reuse.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for what, policy := range map[string]*reuse.Trained{"saved": saved, "read": read} {
		for seed, want := range map[uint64]bool{1: true, 1001: true, 2: false, 0: false} {
			if got := policy.Saw(seed); got != want {
				t.Errorf("%s: seed %d was seen: %v, want %v", what, seed, got, want)
			}
		}
	}
	if (&reuse.Trained{}).Saw(0) {
		t.Error("a policy without provenance saw images")
	}
}

// TestBasisInFiles checks that a file names the basis of forecasts, and that one without, from
// before there was a choice, has Taylor's.
func TestBasisInFiles(t *testing.T) {
	for _, want := range []reuse.Basis{"", reuse.Taylor, reuse.Hermite} {
		p := reuse.NewTokenCache()
		p.Basis = want
		b, err := json.Marshal(p)
		if err != nil || !strings.Contains(string(b), `"basis":"`) {
			t.Fatalf("%s (%v)", b, err)
		}
		var got reuse.TokenCache
		if err := json.Unmarshal(b, &got); err != nil || got.Basis != want {
			t.Errorf("basis %q, want %q (%v)", got.Basis, want, err)
		}
	}
	var old reuse.TokenCache
	if err := json.Unmarshal([]byte(`{"order":2,"ratio":0.25}`), &old); err != nil || old.Basis != reuse.Taylor {
		t.Errorf("without a basis: %q (%v)", old.Basis, err)
	}
	if json.Unmarshal([]byte(`{"order":2,"odd":1}`), &old) == nil {
		t.Error("a field that is not known is taken")
	}
}
