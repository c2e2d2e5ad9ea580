package reuse_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// halfPolicy computes steps 0, 1 and 4 whole, of 2, 3 and 6 the conditional half, and forecasts the rest. What is forecast is the last value.
func halfPolicy() *reuse.TokenCache {
	p := reuse.DefaultTokenCache()
	p.Ratio, p.Learned = 0, true
	p.Steps = reuse.StepChoice{Kind: reuse.ListedSteps, Warmup: 1, List: []int{0, 1, 4}, Half: []int{2, 3, 6}}
	p.Forecast = reuse.NewForecast(len(plan.Timesteps), 2)
	for i := range plan.Timesteps {
		p.Forecast.At(i)[0] = 1
	}
	return &p
}

// guided makes batches of pairs of the samples: the second half has the null class.
func guided(m *dit.Model, batches []*seam.Batch) []*seam.Batch {
	var list []*seam.Batch
	for _, b := range batches {
		n := b.X.Rows
		c := &seam.Batch{X: tensor.FromSlice(append(slices.Clone(b.X.Data), b.X.Data...), 2*n, b.X.Cols), T: append(slices.Clone(b.T), b.T...), Cond: slices.Clone(b.Cond)}
		for s := range n {
			c.Cond, c.Unconditional = append(c.Cond, dit.Class(m.NullClass())), append(c.Unconditional, n+s)
		}
		for range n {
			c.Unconditional = append(c.Unconditional, -1)
		}
		list = append(list, c)
	}
	return list
}

// TestHalfSteps holds what a half step computes and what it derives, and the laws of every policy.
func TestHalfSteps(t *testing.T) {
	const images = 2
	for _, arch := range []dit.Arch{dit.ArchDiT, dit.ArchMDTv1, dit.ArchMDTv2} {
		m := modelOf(t, arch)
		batches := guided(m, inputs(m, images))
		want, _, uncachedFLOPs := outputs(t, m, reuse.None{}, batches, 1)
		got, stats, flops := outputs(t, m, halfPolicy(), batches, 1)
		size := len(want[0]) / (2 * images)
		for p, is := range []byte("IIhhIPhP") {
			n := 0 // samples with the uncached model's bits
			for n < 2*images && slices.Equal(want[p][n*size:(n+1)*size], got[p][n*size:(n+1)*size]) {
				n++
			}
			if n != map[byte]int{'I': 2 * images, 'h': images, 'P': 0}[is] {
				t.Errorf("%s: step %d (%c): %d samples are as the uncached model has them", arch, p, is, n)
			}
		}
		if stats.ISteps != 2*images*3 || stats.PSteps != 2*images*5 || stats.HalfSteps != 2*images*3 {
			t.Errorf("%s: %d I-steps and %d P-steps, %d of them half steps", arch, stats.ISteps, stats.PSteps, stats.HalfSteps)
		}
		if share := float64(flops) / float64(uncachedFLOPs); share < 4.5/8 || share > 0.62 {
			t.Errorf("%s: %.2f of the FLOPs", arch, share)
		}

		// Where nothing changes from step to step, the derived half is what the model would compute.
		var still []*seam.Batch
		for range batches {
			still = append(still, batches[0])
		}
		want, _, _ = outputs(t, m, reuse.None{}, still, 1)
		got, _, _ = outputs(t, m, halfPolicy(), still, 1)
		for p := range got {
			for i, v := range got[p] {
				if math.Abs(float64(v-want[p][i])) > 1e-4*(1+math.Abs(float64(v))) {
					t.Fatalf("%s: still images, step %d, element %d: %g, want %g", arch, p, i, v, want[p][i])
				}
			}
		}
		got, _, _ = outputs(t, m, halfPolicy(), batches, 1)

		// Without guidance, or where nothing says which samples are its halves, everything is computed.
		alone := inputs(m, images)
		whole := halfPolicy()
		whole.Steps.List, whole.Steps.Half = []int{0, 1, 2, 3, 4, 6}, nil
		a, _, _ := outputs(t, m, whole, alone, 1)
		b, _, _ := outputs(t, m, halfPolicy(), alone, 1)
		if diff := same(a, b); diff != "" {
			t.Errorf("%s: no pairs: %s", arch, diff)
		}

		for _, workers := range []int{2, 8} {
			again, _, againFLOPs := outputs(t, m, halfPolicy(), batches, workers)
			if diff := same(got, again); diff != "" || againFLOPs != flops {
				t.Errorf("%s: %d workers: %d FLOPs, want %d %s", arch, workers, againFLOPs, flops, diff)
			}
		}

		turn := []int{3, 0, 2, 1}
		turned := permute(batches, turn)
		for _, b := range turned {
			b.Unconditional = []int{-1, 2, -1, 0} // sample 1 is at 3, its pair 3 at 0; 0 is at 1, its pair 2 at 2
		}
		permuted, _, _ := outputs(t, m, halfPolicy(), turned, 2)
		for p := range got {
			for to, from := range turn {
				if !slices.Equal(permuted[p][to*size:(to+1)*size], got[p][from*size:(from+1)*size]) {
					t.Fatalf("%s: step %d: sample %d changed with its place in the batch", arch, p, from)
				}
			}
		}

		pool := tensor.NewPool(2)
		g := tensor.NewGraph(pool)
		run, err := halfPolicy().NewRun(m, plan, 2*images)
		if err != nil {
			t.Fatalf("%s: just enough cache memory: %v", arch, err)
		}
		steps(g, m, run, turned)
		run.Reset()
		if diff := same(got, steps(g, m, run, batches)); diff != "" {
			t.Errorf("%s: after Reset: %s", arch, diff)
		}
		pool.Close()
	}
}

// TestHalfStepsMixed holds that pairs of one batch may stand at different steps.
func TestHalfStepsMixed(t *testing.T) {
	m := model(t)
	all := guided(m, inputs(m, 2))
	of := func(b *seam.Batch, rows ...int) *seam.Batch {
		c := &seam.Batch{X: tensor.FromSlice(nil, 0, 0)}
		var x []float32
		for _, s := range rows {
			x = append(x, b.X.Row(s)...)
			c.T, c.Cond = append(c.T, b.T[s]), append(c.Cond, b.Cond[s])
		}
		c.X = tensor.FromSlice(x, len(rows), b.X.Cols)
		return c
	}
	var alone [2][][]float32
	for s := range alone {
		var batches []*seam.Batch
		for _, b := range all {
			c := of(b, s, 2+s)
			c.Unconditional = []int{1, -1}
			batches = append(batches, c)
		}
		alone[s], _, _ = outputs(t, m, halfPolicy(), batches, 1)
	}
	pool := tensor.NewPool(2)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	run, err := halfPolicy().NewRun(m, plan, 4)
	if err != nil {
		t.Fatal(err)
	}
	size := len(alone[0][0]) / 2
	for p := range all { // the second image is a step behind; it waits at its first step
		behind := max(p-1, 0)
		first, second := of(all[p], 0, 2), of(all[behind], 1, 3)
		b := &seam.Batch{X: tensor.FromSlice(append(slices.Clone(first.X.Data), second.X.Data...), 4, first.X.Cols), T: append(first.T, second.T...), Cond: append(first.Cond, second.Cond...)}
		b.Unconditional = []int{1, -1, 3, -1}
		g.Reset()
		run.Begin(g, b, []int{p, p, behind, behind})
		out := m.Forward(g, run, b).Flat()
		if !slices.Equal(out[:2*size], alone[0][p]) {
			t.Errorf("step %d: the first image differs from one alone", p)
		}
		if p != 1 && !slices.Equal(out[2*size:], alone[1][behind]) { // at its first step for the second time it has two pasts
			t.Errorf("step %d: the second image, at step %d, differs from one alone", p, behind)
		}
	}
}

// TestHalfStepParameters holds that half steps are written as they are read, and what they do not go with.
func TestHalfStepParameters(t *testing.T) {
	p := reuse.DefaultTokenCache()
	for _, pair := range strings.Split(strings.TrimPrefix(halfPolicy().String(), "tokencache:"), ",") {
		key, value, _ := strings.Cut(pair, "=")
		if err := p.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	if p.String() != halfPolicy().String() || !slices.Equal(p.Steps.Half, []int{2, 3, 6}) {
		t.Errorf("written as %s, read as %s", halfPolicy(), &p)
	}
	m := model(t)
	for want, change := range map[string]func(p *reuse.TokenCache){
		"half steps go with a learned forecast":      func(p *reuse.TokenCache) { p.Learned, p.Forecast = false, nil },
		"a half step at position 9":                  func(p *reuse.TokenCache) { p.Steps.Half = []int{9} },
		"position 4 is both an I-step and a half st": func(p *reuse.TokenCache) { p.Steps.Half = []int{2, 4} },
	} {
		p := halfPolicy()
		change(p)
		if _, err := p.NewRun(m, plan, 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
