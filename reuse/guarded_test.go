package reuse_test

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// guardedPlan is the plan with noise levels and guidance.
var guardedPlan = reuse.Plan{
	Sampling:  diffusion.Sampling{Sampler: "ddim", Steps: 8, Guidance: 2}.WithDefaults(),
	Timesteps: plan.Timesteps,
	Sigma:     []float64{20, 9, 5, 3, 1.8, 1, 0.4, 0.05},
}

// checked makes the predictions of all steps with a checked policy, as the engine does.
func checked(
	t *testing.T, m net, p reuse.Policy, batches []*seam.Batch,
) (out [][]float32, run reuse.Run) {
	t.Helper()
	pool := tensor.NewPool(2)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	run, err := p.NewRun(m, guardedPlan, batches[0].Samples())
	if err != nil {
		t.Fatal(err)
	}
	for p, b := range batches {
		for again := true; again; {
			g.Reset()
			run.Begin(g, b, slices.Repeat([]int{p}, b.Samples()))
			prediction := m.Forward(g, run, b)
			if again = seam.Finish(run, prediction); !again {
				out = append(out, slices.Clone(prediction.Flat()))
			}
		}
	}
	return out, run
}

func evidence(run reuse.Run, sample int) reuse.Evidence { return run.(reuse.Checker).Evidence(sample) }

// TestGuardedEnds checks that a policy whose forecasts are all accepted is that policy, bit for
// bit, and one whose forecasts are all rejected is the uncached model.
func TestGuardedEnds(t *testing.T) {
	for _, arch := range archs {
		m := modelOf(t, arch)
		batches := guided(m, inputs(m, 2))
		inner := parse(t, "tokencache:ratio=0,k=3,warmup=1") // I-steps 0, 3, 6
		plain, innerRun := checked(t, m, inner, batches)
		uncached, _ := checked(t, m, reuse.None{}, batches)

		accepted, run := checked(t, m, &reuse.Guarded{Policy: inner, Tolerance: -1000}, batches)
		if diff := same(plain, accepted); diff != "" {
			t.Errorf("%s: accepted: %s", arch, diff)
		}
		if e := evidence(run, 0); e.Checks != 5 || e.Rejections != 0 || !(e.EstimatedPSNR < 100) {
			t.Errorf("%s: accepted: %+v, want 5 checks and no rejection", arch, e)
		}
		if run.Stats() != innerRun.Stats() {
			t.Errorf("%s: accepted: %+v, want %+v", arch, run.Stats(), innerRun.Stats())
		}

		rejected, run := checked(t, m, &reuse.Guarded{Policy: inner, Tolerance: 1000}, batches)
		if diff := same(uncached, rejected); diff != "" {
			t.Errorf("%s: rejected: %s", arch, diff)
		}
		if e := evidence(run, 1); e != (reuse.Evidence{Checks: 5, Rejections: 5, EstimatedPSNR: 100}) {
			t.Errorf("%s: rejected: %+v, want 5 checks, 5 rejections and 100 dB", arch, e)
		}
		c := run.Stats()
		if c.ISteps != 8*4 || c.PSteps != 0 || c.Rows != c.ComputedRows {
			t.Errorf("%s: rejected: %+v, want 32 I-steps that compute all rows", arch, c)
		}
		run.Reset()
		if e := evidence(run, 0); e.Checks != 0 {
			t.Errorf("%s: %d checks after a reset", arch, e.Checks)
		}
	}
}

// TestGuardedImagesAlone checks, at tolerances that reject some forecasts of some images, that each
// image comes out as alone, and that both halves of its guidance are decided on together.
func TestGuardedImagesAlone(t *testing.T) {
	m := model(t)
	all := inputs(m, 3)
	inner := parse(t, "tokencache:ratio=0,k=3,warmup=1")
	split := false // some image rejected what another accepted
	for tolerance := -20.0; tolerance <= 60; tolerance += 2 {
		p := &reuse.Guarded{Policy: inner, Tolerance: tolerance}
		together, run := checked(t, m, p, guided(m, all))
		for s := range 3 {
			alone, single := checked(t, m, p, guided(m, pick(all, s)))
			for step := range alone {
				n := len(alone[step]) / 2
				for half, sample := range []int{s, 3 + s} {
					if !slices.Equal(alone[step][half*n:][:n], together[step][sample*n:][:n]) {
						t.Fatalf("tolerance %g: image %d, half %d, step %d differs from alone", tolerance, s, half, step)
					}
				}
			}
			if evidence(run, s) != evidence(single, 0) {
				t.Errorf("tolerance %g: %+v, alone %+v", tolerance, evidence(run, s), evidence(single, 0))
			}
			split = split || evidence(run, s).Rejections != evidence(run, 0).Rejections
		}
	}
	if !split {
		t.Error("no tolerance told the images apart")
	}
}

// TestGuardedEstimate checks the estimate against its definition.
func TestGuardedEstimate(t *testing.T) {
	m := model(t)
	batches := guided(m, inputs(m, 1))
	p := &reuse.Guarded{Policy: parse(t, "tokencache:ratio=0,k=3,warmup=1"), Tolerance: -1000, Offset: 1.5}
	out, run := checked(t, m, p, batches)
	n := m.Shape().Latents()
	prediction := func(step, i int) float64 { // the first three channels are guided by 2, the fourth is not
		c, u := float64(out[step][i]), float64(out[step][len(out[step])/2+i])
		if i < 3*n/4 {
			return 2*c - u
		}
		return c
	}
	sum := 0.0
	for step, from := range map[int][2]int{1: {0, 0}, 2: {0, 0}, 4: {3, 0}, 5: {3, 0}, 7: {6, 3}} {
		a, b := from[0], from[1]
		square := 0.0
		for i := range n {
			line := prediction(a, i)
			if a != b {
				line += float64(step-a) / float64(a-b) * (prediction(a, i) - prediction(b, i))
			}
			square += (prediction(step, i) - line) * (prediction(step, i) - line) / float64(n)
		}
		next := 0.0
		if step < 7 {
			next = guardedPlan.Sigma[step+1]
		}
		move := guardedPlan.Sigma[step] - next
		sum += move * move * square * 0.3 / (0.3 + next*next)
	}
	want := 10*math.Log10(4/sum) + 1.5
	if got := evidence(run, 0).EstimatedPSNR; math.Abs(got-want) > 1e-3 {
		t.Errorf("estimated PSNR %g dB, want %g", got, want)
	}
}

// TestGuardedTolerance checks that the estimate never falls below the tolerance, and that a lower
// one rejects no more on the way down.
func TestGuardedTolerance(t *testing.T) {
	m := model(t)
	batches := guided(m, inputs(m, 1))
	some := 0
	for tolerance := 0.0; tolerance < 60; tolerance += 5 {
		p := &reuse.Guarded{Policy: parse(t, "tokencache:ratio=0,k=3,warmup=1"), Tolerance: tolerance}
		_, run := checked(t, m, p, batches)
		e := evidence(run, 0)
		if e.EstimatedPSNR < tolerance-1e-9 {
			t.Errorf("tolerance %g: an estimate of %g dB", tolerance, e.EstimatedPSNR)
		}
		if e.Rejections > 0 && e.Rejections < e.Checks {
			some++
		}
	}
	if some == 0 {
		t.Error("no tolerance rejected only some")
	}
}

// TestGuardedCacheBytes checks that the memory that a checked policy says it takes is what it
// holds.
func TestGuardedCacheBytes(t *testing.T) {
	const samples = 64
	m := model(t)
	b := inputs(m, samples)[0]
	inner := parse(t, "tokencache:ratio=0,k=3")
	p := &reuse.Guarded{Policy: inner}
	bytes, err := p.CacheBytes(m, guardedPlan, samples)
	if err != nil {
		t.Fatal(err)
	}
	alone, _ := inner.CacheBytes(m, guardedPlan, samples)
	run, err := p.NewRun(m, guardedPlan, samples)
	if err != nil {
		t.Fatal(err)
	}
	pool := tensor.NewPool(1)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	run.Begin(g, b, make([]int, samples))
	held := newHeap(m, g, b, p).held(reflect.ValueOf(run))
	slack := int64(samples * m.Shape().Tokens * (m.Shape().Blocks*16 + 96))
	if held < bytes || held > bytes+slack || bytes <= alone {
		t.Errorf("CacheBytes says %d (%d without checks), the run holds %d", bytes, alone, held)
	}
}

// TestGuard checks which tolerance a contract gives for a wanted PSNR.
func TestGuard(t *testing.T) {
	setting := reuse.Setting{Sampling: guardedPlan.Sampling}
	trained := &reuse.Trained{
		Policy: parse(t, "tokencache:ratio=0").(*reuse.TokenCache),
		Contract: &reuse.Contract{
			PolicyHash: reuse.PolicyHash(parse(t, "tokencache:ratio=0")),
			Setting:    setting,
			Coverage:   0.95,
			Points: []reuse.ContractPoint{
				{Tolerance: 0, PSNR: 43, Offset: 1, FLOPs: 3},
				{Tolerance: 50, PSNR: 42.5, Offset: 2, FLOPs: 2.5}, // keeps less than a lower tolerance
				{Tolerance: 52, PSNR: 47, Offset: 3, FLOPs: 1.5},
				{Tolerance: 56, PSNR: 45, Offset: 1, FLOPs: 2},
			},
		},
	}
	for _, c := range []struct{ psnr, tolerance, offset float64 }{
		{30, 0, 1}, {43, 0, 1}, {43.1, 56, 1}, {45, 56, 1}, {45.1, 52, 3}, {47, 52, 3},
	} {
		p, err := reuse.Guard(trained, reuse.Promise{MinPSNR: c.psnr}, setting)
		if err != nil {
			t.Fatal(err)
		}
		if g := p.(*reuse.Guarded); g.Tolerance != c.tolerance || g.Offset != c.offset || g.MinPSNR != c.psnr {
			t.Errorf("%g dB: %+v, want a tolerance of %g and an offset of %g", c.psnr, g, c.tolerance, c.offset)
		}
	}
	if _, err := reuse.Guard(trained, reuse.Promise{MinPSNR: 47.1}, setting); !errors.As(err, new(*reuse.ContractLimitError)) {
		t.Errorf("47.1 dB: error %v, want a ContractLimitError", err)
	}
	trained.Contract = nil
	for _, p := range []reuse.Policy{trained, parse(t, "fora")} {
		if _, err := reuse.Guard(p, reuse.Promise{MinPSNR: 40}, setting); !errors.As(err, new(*reuse.NoContractError)) {
			t.Errorf("%s: error %v, want a NoContractError", p, err)
		}
	}
	if p, err := reuse.Guard(reuse.None{}, reuse.Promise{MinPSNR: 90}, setting); err != nil || p != (reuse.Policy)(reuse.None{}) {
		t.Errorf("computing everything: %v (%v), want itself", p, err)
	}
}

// TestContractFile checks that a policy's file keeps its contract, and that one that contradicts
// itself is refused.
func TestContractFile(t *testing.T) {
	trained := &reuse.Trained{
		Policy:   parse(t, "tokencache:ratio=0").(*reuse.TokenCache),
		Sampling: guardedPlan.Sampling,
		Contract: &reuse.Contract{
			Images:   19,
			Seed:     1 << 60,
			Coverage: 0.95,
			Points:   []reuse.ContractPoint{{PSNR: 40.5, FLOPs: 3}, {Tolerance: 50, PSNR: 44, Offset: -1.5, FLOPs: 2}},
			Command:  "tokencache calibrate --contract fast",
		},
	}
	dir := t.TempDir()
	if err := trained.Save(dir, nil); err != nil {
		t.Fatal(err)
	}
	read, err := reuse.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read.Contract, trained.Contract) {
		t.Errorf("read %+v, want %+v", read.Contract, trained.Contract)
	}
	for what, spoil := range map[string]func(c *reuse.Contract){
		"no points":           func(c *reuse.Contract) { c.Points = nil },
		"no coverage":         func(c *reuse.Contract) { c.Coverage = 0 },
		"full coverage":       func(c *reuse.Contract) { c.Coverage = 1 },
		"falling tolerance":   func(c *reuse.Contract) { c.Points[1].Tolerance = -1 },
		"the same tolerances": func(c *reuse.Contract) { c.Points[1].Tolerance = 0 },
	} {
		c := *trained.Contract
		c.Points = slices.Clone(c.Points)
		spoil(&c)
		bad := *trained
		bad.Contract = &c
		if err := bad.Save(dir, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := reuse.Open(dir); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
