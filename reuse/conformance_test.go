package reuse_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// The laws that every policy obeys, on every model.

var plan = reuse.Plan{Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 8}, Timesteps: []float64{999, 856, 714, 571, 428, 285, 142, 0}}

func model(t *testing.T) *dit.Model { return modelOf(t, dit.ArchDiT) }

// modelOf returns a small model of each architecture.
func modelOf(t *testing.T, arch dit.Arch) *dit.Model {
	t.Helper()
	c := dit.Config{Arch: arch, InputSize: 8, PatchSize: 2, InChannels: 4, Hidden: 48, Depth: 4, Heads: 4, MLPHidden: 192, NumClasses: 10, LearnSigma: true}
	if arch != dit.ArchDiT {
		c.DecodeLayer = 2
	}
	m, err := dit.New(c, weights(c), false)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func weights(c dit.Config) nn.Source {
	var src formula.Source
	for _, w := range c.Tensors() {
		src.Add(w.Name, w.Shape...)
	}
	return &src
}

// inputs are batches of samples that drift from step to step, as a sampler's do.
func inputs(m *dit.Model, samples int) []*seam.Batch {
	r := rand.New(rand.NewPCG(1, 2))
	size := m.InChannels * m.InputSize * m.InputSize
	x, drift := make([]float32, samples*size), make([]float32, samples*size)
	for i := range x {
		x[i], drift[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
	}
	var list []*seam.Batch
	for p, timestep := range plan.Timesteps {
		b := &seam.Batch{X: tensor.FromSlice(make([]float32, len(x)), samples, size)}
		for i := range x {
			b.X.Data[i] = x[i] + 0.1*float32(p)*drift[i]
		}
		for s := range samples {
			b.T, b.Cond = append(b.T, float32(timestep)), append(b.Cond, dit.Class(s%m.NumClasses))
		}
		list = append(list, b)
	}
	return list
}

// outputs runs all steps and returns the predictions of each.
func outputs(t *testing.T, m *dit.Model, p reuse.Policy, batches []*seam.Batch, workers int) ([][]float32, reuse.Cost, int64) {
	t.Helper()
	pool := tensor.NewPool(workers)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	run, err := p.NewRun(m, plan, batches[0].X.Rows)
	if err != nil {
		t.Fatal(err)
	}
	out := steps(g, m, run, batches)
	return out, run.Stats(), g.FLOPs()
}

func steps(g *tensor.Graph, m *dit.Model, run reuse.Run, batches []*seam.Batch) [][]float32 {
	var all [][]float32
	positions := make([]int, batches[0].X.Rows)
	for p, b := range batches {
		for i := range positions {
			positions[i] = p
		}
		g.Reset()
		run.Begin(g, b, positions)
		all = append(all, slices.Clone(m.Forward(g, run, b).Flat()))
	}
	return all
}

// policies are the methods with parameters that make a difference at each law.
var policies = []string{
	"tokencache",
	"tokencache:order=0", "tokencache:order=2,k=2", "tokencache:ratio=0", "tokencache:keys=kept", "tokencache:keys=fresh", "tokencache:cached=output,order=0",
	"tokencache:selection=grid,cell=3,ratio=0.5", "tokencache:selection=per-block,importance=random", "tokencache:write-back=false",
	"tokencache:steps=tprr,k1=2,k2=4,boundary=0.5",
	"tokencache:importance=static", "tokencache:importance=dynamic,order=2,k=2", "tokencache:importance=dynamic,keys=fresh,selection=per-block", "tokencache:learned=true,ratio=0",
	"tokencache:site=body", "tokencache:site=body,ratio=0", "tokencache:site=body,keys=fresh,cached=output,order=0",
	"fora", "taylorseer", "taylorseer:order=2,n=2", "toca", "toca:scheduler=ddim50,n=2", "duca",
	"fbcache:threshold=1", "fbcache:threshold=9,most=2,warmup=2", "dbcache:front=1,back=1,threshold=0.8", "dbcache:threshold=9,most=3",
	"teacache:threshold=1", "teacache:threshold=1,coefficients=0.1+0+0.5,low=0.1,high=0.7",
	"deltadit", "deltadit:n=2,span=0.75,boundary=0.4", "random", "update-norm",
	"tome", "tome:ratio=0.3,mlp=true",
}

// caches reports whether a method keeps anything from step to step: not if it merges tokens, which it does at the first step too.
func caches(text string) bool { return !strings.HasPrefix(text, "tome") }

func parse(t *testing.T, text string) reuse.Policy {
	t.Helper()
	p, err := reuse.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// calibrated reports whether a text stands for a policy that calibration makes.
func calibrated(text string) bool {
	return strings.Contains(text, "importance=static") || strings.Contains(text, "importance=dynamic") || strings.Contains(text, "learned=true")
}

// made returns the policy that a text stands for, with what calibration would have made for m: a predictor that is not trained, or forecasts between the last two values.
func made(t *testing.T, m *dit.Model, text string) reuse.Policy {
	t.Helper()
	if !calibrated(text) {
		return parse(t, text)
	}
	p := reuse.DefaultTokenCache()
	_, pairs, _ := strings.Cut(text, ":")
	for pair := range strings.SplitSeq(pairs, ",") {
		key, value, _ := strings.Cut(pair, "=")
		if err := p.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	if p.Learned {
		p.Forecast = reuse.NewForecast(len(plan.Timesteps), 2)
		for i := range plan.Timesteps {
			p.Forecast.At(i)[0], p.Forecast.At(i)[1] = 1.25, -0.25
		}
		return &p
	}
	c := reuse.NewPredictorConfig(p.Importance, m)
	var err error
	if p.Predictor, err = reuse.NewPredictor(c, reuse.FreshPredictor{Config: c, Model: weights(m.Config), Block: m.BlockName(0)}); err != nil {
		t.Fatal(err)
	}
	return &p
}

func same(a, b [][]float32) string {
	for p := range a {
		for i := range a[p] {
			if a[p][i] != b[p][i] {
				return fmt.Sprintf("step %d, element %d: %g and %g", p, i, a[p][i], b[p][i])
			}
		}
	}
	return ""
}

func TestConformance(t *testing.T) {
	for _, arch := range []dit.Arch{dit.ArchDiT, dit.ArchMDTv1, dit.ArchMDTv2} {
		t.Run(string(arch), func(t *testing.T) {
			t.Parallel()
			conformance(t, modelOf(t, arch))
		})
	}
}

func conformance(t *testing.T, m *dit.Model) {
	batches := inputs(m, 3)
	want, _, _ := outputs(t, m, reuse.None{}, batches, 1)
	for _, text := range policies {
		t.Run(text, func(t *testing.T) {
			got, stats, flops := outputs(t, m, made(t, m, text), batches, 1)

			// The first step is an I-step: the uncached model's bits.
			if diff := same(want[:1], got[:1]); diff != "" && caches(text) {
				t.Errorf("an I-step differs from the uncached model: %s", diff)
			}
			if same(want, got) == "" {
				t.Error("nothing was reused")
			}
			for p := range got {
				for _, v := range got[p] {
					if math.IsNaN(float64(v)) {
						t.Fatalf("step %d: not a number", p)
					}
				}
			}
			if stats.ISteps+stats.PSteps != 3*len(batches) || stats.PSteps == 0 {
				t.Errorf("%d I-steps and %d P-steps of %d", stats.ISteps, stats.PSteps, 3*len(batches))
			}

			// Workers make no difference.
			for _, workers := range []int{2, 8} {
				again, _, againFLOPs := outputs(t, m, made(t, m, text), batches, workers)
				if diff := same(got, again); diff != "" {
					t.Errorf("%d workers: %s", workers, diff)
				}
				if againFLOPs != flops {
					t.Errorf("%d workers: %d FLOPs, want %d", workers, againFLOPs, flops)
				}
			}

			// I-steps only, and keeping all tokens, are the uncached run.
			everything := map[string]string{"I-steps only": "n=1"}
			if strings.HasPrefix(text, "toca") || strings.HasPrefix(text, "duca") {
				everything = map[string]string{"I-steps only": "n=1,ratio=0"}
			}
			if strings.Contains(text, "bcache") || strings.HasPrefix(text, "teacache") {
				everything = map[string]string{"I-steps only": "threshold=0"}
			}
			if !caches(text) {
				everything = map[string]string{"no tokens merged": "ratio=0"}
			}
			if strings.HasPrefix(text, "tokencache") || strings.HasPrefix(text, "random") || strings.HasPrefix(text, "update-norm") {
				everything = map[string]string{"I-steps only": "k=1,k1=1,k2=1", "all tokens kept": "ratio=1"}
			}
			if strings.Contains(text, "learned=true") {
				delete(everything, "all tokens kept") // learned forecasts are of P-steps that compute nothing
			}
			for what, more := range everything {
				if all, _, _ := outputs(t, m, made(t, m, join(text, more)), batches, 2); same(want, all) != "" {
					t.Errorf("%s: %s", what, same(want, all))
				}
			}

			// Permuting the samples permutes the results.
			turn := []int{2, 0, 1}
			turned, _, _ := outputs(t, m, made(t, m, text), permute(batches, turn), 2)
			for p := range got {
				n := len(got[p]) / 3
				for to, from := range turn {
					if !slices.Equal(turned[p][to*n:(to+1)*n], got[p][from*n:(from+1)*n]) {
						t.Fatalf("step %d: sample %d changed with its place in the batch", p, from)
					}
				}
			}

			// A run that was reset behaves as new.
			pool := tensor.NewPool(2)
			defer pool.Close()
			g := tensor.NewGraph(pool)
			run, err := made(t, m, text).NewRun(m, plan, 3)
			if err != nil {
				t.Fatal(err)
			}
			steps(g, m, run, permute(batches, turn))
			run.Reset()
			if diff := same(got, steps(g, m, run, batches)); diff != "" {
				t.Errorf("after Reset: %s", diff)
			}

		})
	}
}

// TestCacheBytes checks what policies say of their memory. It is a test of its own because others must
// not allocate meanwhile.
func TestCacheBytes(t *testing.T) {
	for _, arch := range []dit.Arch{dit.ArchDiT, dit.ArchMDTv2} {
		m := modelOf(t, arch)
		for _, text := range policies {
			t.Run(string(arch)+"/"+text, func(t *testing.T) { checkCacheBytes(t, m, made(t, m, text), caches(text)) })
		}
	}
}

// checkCacheBytes checks that the memory that a policy says it takes is what its state keeps.
func checkCacheBytes(t *testing.T, m *dit.Model, p reuse.Policy, caches bool) {
	t.Helper()
	const samples = 64
	bytes, err := p.CacheBytes(m, plan, samples)
	if err != nil || caches != (bytes > 0) {
		t.Errorf("a cache of %d bytes (%v)", bytes, err)
	}
	pool := tensor.NewPool(1)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	b := inputs(m, samples)[0]
	m.Forward(g, seam.Always, b) // the Graph has grown
	kept := int64(math.MaxInt64)
	for range 3 { // the least, as other tests allocate meanwhile
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run, err := p.NewRun(m, plan, samples)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(p.String(), "keys=cached") {
			g.Reset()
			run.Begin(g, b, make([]int, samples)) // which makes the KV cache
		}
		runtime.ReadMemStats(&after)
		kept = min(kept, int64(after.TotalAlloc-before.TotalAlloc))
	}
	// Lists of rows, scores and the like come on top: less than a tenth at any real width.
	slack := int64(samples*m.Tokens()*(m.Depth*16+96)) + 64<<10
	if caches && (kept < bytes || kept > bytes+slack) {
		t.Errorf("CacheBytes says %d, the state takes %d", bytes, kept)
	}
}

// TestBodySite holds that site=body spares pruned tokens the branches of blocks with a long skip and not the map that joins it, and that on models without
// long skips it is no other than site=whole.
func TestBodySite(t *testing.T) {
	const samples = 3
	for _, arch := range []dit.Arch{dit.ArchDiT, dit.ArchMDTv1, dit.ArchMDTv2} {
		m := modelOf(t, arch)
		batches := inputs(m, samples)
		for _, text := range []string{"tokencache:keys=kept,selection=per-block,importance=random,k=2", "tokencache:ratio=0,k=2"} {
			whole, _, wholeFLOPs := outputs(t, m, parse(t, text), batches, 2)
			body, stats, bodyFLOPs := outputs(t, m, parse(t, text+",site=body"), batches, 2)
			if arch != dit.ArchMDTv2 {
				if diff := same(whole, body); diff != "" || bodyFLOPs != wholeFLOPs {
					t.Errorf("%s: %s: body differs from whole: %s", arch, text, diff)
				}
				continue
			}
			if same(whole, body) == "" {
				t.Errorf("%s: body is no other than whole", text)
			}
			// Every block has a share of the pruned tokens; three of the four have a long skip. Where nothing is computed their modulation still is.
			pruned := stats.Rows - stats.ComputedRows
			want := pruned / 4 * 3 * 4 * int64(m.Hidden*m.Hidden)
			if strings.Contains(text, "ratio=0") {
				want += int64(stats.PSteps) * 3 * 12 * int64(m.Hidden*m.Hidden)
			}
			if got := bodyFLOPs - wholeFLOPs; pruned == 0 || got != want {
				t.Errorf("%s: body takes %d FLOPs more than whole, want %d", text, got, want)
			}
		}
	}
	for text, want := range map[string]string{
		"tokencache:site=branch":                  `unknown site "branch": want whole or body`,
		"tokencache:site=body,importance=dynamic": "site=body goes with importance random or update-norm",
		"tokencache:site=body,learned=true":       "without learned forecasts",
	} {
		if _, err := reuse.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
	for _, text := range []string{"tokencache:site=body", "tokencache:site=whole"} {
		p := parse(t, text)
		if again := parse(t, p.String()); !reflect.DeepEqual(p, again) {
			t.Errorf("%s: written as %s, read as %+v", text, p, again)
		}
	}
}

// join adds parameters to a policy's text.
func join(text, more string) string {
	for i := range text {
		if text[i] == ':' {
			return text + "," + more
		}
	}
	return text + ":" + more
}

func permute(batches []*seam.Batch, turn []int) []*seam.Batch {
	var list []*seam.Batch
	for _, b := range batches {
		c := &seam.Batch{X: tensor.FromSlice(make([]float32, len(b.X.Data)), b.X.Rows, b.X.Cols)}
		for to, from := range turn {
			copy(c.X.Row(to), b.X.Row(from))
			c.T, c.Cond = append(c.T, b.T[from]), append(c.Cond, b.Cond[from])
		}
		list = append(list, c)
	}
	return list
}

// TestMixedSteps holds that samples of one batch may stand at different steps: each comes out as in a batch of its own.
func TestMixedSteps(t *testing.T) {
	m := model(t)
	all := inputs(m, 2)
	one := func(b *seam.Batch, s int) *seam.Batch {
		return &seam.Batch{X: tensor.FromSlice(b.X.Row(s), 1, b.X.Cols), T: b.T[s : s+1], Cond: b.Cond[s : s+1]}
	}
	for _, text := range policies {
		var alone [2][][]float32
		for s := range 2 {
			var batches []*seam.Batch
			for _, b := range all {
				batches = append(batches, one(b, s))
			}
			alone[s], _, _ = outputs(t, m, made(t, m, text), batches, 1)
		}
		pool := tensor.NewPool(2)
		g := tensor.NewGraph(pool)
		run, err := made(t, m, text).NewRun(m, plan, 2)
		if err != nil {
			t.Fatal(err)
		}
		// The second sample is a step behind; it waits at its first step.
		for p := range all {
			behind := max(p-1, 0)
			b := &seam.Batch{X: tensor.FromSlice(append(slices.Clone(all[p].X.Row(0)), all[behind].X.Row(1)...), 2, all[p].X.Cols),
				T: []float32{all[p].T[0], all[behind].T[1]}, Cond: []seam.Condition{all[p].Cond[0], all[behind].Cond[1]}}
			g.Reset()
			run.Begin(g, b, []int{p, behind})
			out := m.Forward(g, run, b)
			if !slices.Equal(out.Row(0), alone[0][p]) || !slices.Equal(out.Row(1), alone[1][behind]) {
				t.Errorf("%s: step %d beside %d differs from batches of one", text, p, behind)
			}
		}
		pool.Close()
	}
}

// TestLearnedForecast holds that weights which are Taylor's give what Taylor's series gives, and that weights for other steps or tokens are refused.
func TestLearnedForecast(t *testing.T) {
	m := model(t)
	batches := inputs(m, 2)
	taylor := reuse.DefaultTokenCache()
	taylor.Ratio, taylor.Order, taylor.Steps = 0, 1, reuse.StepChoice{Kind: reuse.ListedSteps, List: []int{0, 1, 4}}
	learned := taylor
	learned.Learned = true
	f := reuse.NewForecast(len(batches), 2)
	for p := range batches {
		last, before := 1, 0
		if p > 4 {
			last, before = 4, 1
		}
		h := float32(p-last) / float32(last-before)
		copy(f.At(p), []float32{1 + h, -h})
	}
	learned.Forecast = f
	want, _, _ := outputs(t, m, &taylor, batches, 1)
	got, _, _ := outputs(t, m, &learned, batches, 2)
	for p := range want {
		for i, v := range want[p] {
			if d := math.Abs(float64(got[p][i] - v)); d > 1e-4*(1+math.Abs(float64(v))) {
				t.Fatalf("step %d, element %d: %g, want %g", p, i, got[p][i], v)
			}
		}
	}
	f.Steps++
	if _, err := learned.NewRun(m, plan, 1); err == nil {
		t.Error("no error for weights of another number of steps")
	}
}

// TestTrainedPolicy holds that a policy is read as it was saved, and refused for what it was not made for.
func TestTrainedPolicy(t *testing.T) {
	m := model(t)
	policy := reuse.DefaultTokenCache()
	policy.Ratio, policy.Learned, policy.Steps = 0, true, reuse.StepChoice{Kind: reuse.ListedSteps, List: []int{0, 3}}
	policy.Forecast = reuse.NewForecast(8, 1)
	saved := &reuse.Trained{Policy: &policy, Model: m.Name(), Fingerprint: m.Fingerprint, Sampling: plan.Sampling}
	dir := t.TempDir()
	if err := saved.Save(dir, policy.Forecast.Write); err != nil {
		t.Fatal(err)
	}
	got, err := reuse.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Policy, &policy) {
		t.Errorf("read %+v, saved %+v", got.Policy, policy)
	}
	if _, err := got.NewRun(m, plan, 1); err != nil {
		t.Errorf("refused for what it was made for: %v", err)
	}
	other := plan
	other.Sampler = "ddpm"
	if _, err := got.NewRun(m, other, 1); err == nil || !strings.Contains(err.Error(), "sampler ddim with 8 steps, not for ddpm with 8") {
		t.Errorf("error %v for another sampler", err)
	}
	got.Fingerprint = "0"
	if _, err := got.NewRun(m, plan, 1); err == nil || !strings.Contains(err.Error(), "another model") {
		t.Errorf("error %v for another model", err)
	}
	for name, content := range map[string]string{reuse.PolicyFile: `{"format":1,"method":"tokencache"}`, reuse.PredictorFile: "damaged"} {
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
