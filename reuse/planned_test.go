package reuse_test

import (
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// lastOutputs runs a policy over batches and returns the last block's output of each step.
func lastOutputs(t *testing.T, p reuse.Policy, batches []*seam.Batch) [][]float32 {
	t.Helper()
	m := model(t)
	var list [][]float32
	outputs(t, m, reuse.Observe(p, reuse.Observer{
		Sites: seam.SitesOf(seam.Block),
		Site: func(at seam.Site, _, out *seam.Tokens) {
			if at.Part == seam.Block && at.Block == m.Shape().Blocks-1 {
				list = append(list, slices.Clone(out.X.Flat()))
			}
		},
	}), batches, 2)
	return list
}

// TestDPCacheForecasts checks the Taylor series over unevenly spaced key steps against one written
// out, and that no differences are made before the last of the warm-up steps.
func TestDPCacheForecasts(t *testing.T) {
	batches := inputs(model(t), 1)
	h := lastOutputs(t, reuse.None{}, batches)
	p := parse(t, "dpcache:i=0+1+2+5,warmup=3").(*reuse.DPCache)
	got := lastOutputs(t, p, batches)
	for _, i := range []int{0, 1, 2, 5} {
		if !slices.Equal(got[i], h[i]) {
			t.Errorf("step %d is not computed", i)
		}
	}
	for k := range h[0] {
		// At 2 there is a first difference alone, as the one at 1 is not made.
		d := float64(h[2][k]) - float64(h[1][k])
		near(t, "step 3", float64(got[3][k]), float64(h[2][k])+d)
		near(t, "step 4", float64(got[4][k]), float64(h[2][k])+2*d)
		d1 := (float64(h[5][k]) - float64(h[2][k])) / 3
		d2 := (d1 - d) / 3
		near(t, "step 6", float64(got[6][k]), float64(h[5][k])+d1+d2/2)
		near(t, "step 7", float64(got[7][k]), float64(h[5][k])+2*d1+2*d2)
	}
	all := lastOutputs(t, parse(t, "dpcache:i=0+1+2+5,warmup=1"), batches)
	if slices.Equal(all[3], got[3]) {
		t.Error("step 3: the differences at the first steps make no difference")
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if d := got - want; !(d < 1e-4 && d > -1e-4) {
		t.Fatalf("%s: %g, want %g", what, got, want)
	}
}

// TestCEMSteps checks what each step computes: everything at full steps, the MLP of some tokens at
// odd steps after them, nothing at even ones.
func TestCEMSteps(t *testing.T) {
	m := model(t)
	var attention, mlp []int // rows that each step computes in all blocks
	p := reuse.Observe(parse(t, "cem:i=0+4,ratio=0.5,scheduler=constant"), reuse.Observer{
		Begin: func(*tensor.Graph, *seam.Batch, []int) { attention, mlp = append(attention, 0), append(mlp, 0) },
		Computed: func(at seam.Site, x, _ *seam.Tokens) {
			switch at.Part {
			case seam.Attention:
				attention[len(attention)-1] += x.X.Rows
			case seam.MLP:
				mlp[len(mlp)-1] += x.X.Rows
			}
		},
	})
	outputs(t, m, p, inputs(m, 1), 1)
	all := m.Shape().Blocks * m.Shape().Tokens
	if want := []int{all, 0, 0, 0, all, 0, 0, 0}; !slices.Equal(attention, want) {
		t.Errorf("attention of %v rows, want %v", attention, want)
	}
	if want := []int{all, all / 2, 0, all / 2, all, all / 2, 0, all / 2}; !slices.Equal(mlp, want) {
		t.Errorf("MLP of %v rows, want %v", mlp, want)
	}
	h := lastOutputs(t, parse(t, "cem:i=0+4,ratio=0.5,scheduler=constant"), inputs(m, 1))
	if !slices.Equal(h[2], h[1]) || slices.Equal(h[3], h[2]) {
		t.Error("a skipped step does not put out what the partial one before did")
	}
}

// TestL2PForecasts checks that forecasts are the weighted sum of all earlier features, forecasts
// among them.
func TestL2PForecasts(t *testing.T) {
	m := model(t)
	batches := inputs(m, 2)
	p := l2pOf(0, 1, 4)
	p.Weights[3] = []float32{0.5, -1, 2, 0, 0, 0, 0, 0}
	got, cost, _ := outputs(t, m, p, batches, 2)
	for k := range got[0] {
		want := 0.5*float64(got[0][k]) - float64(got[1][k]) + 2*float64(got[2][k])
		near(t, "step 3", float64(got[3][k]), want)
	}
	if cost.ISteps != 2*3 || cost.PSteps != 2*5 {
		t.Errorf("%d I-steps and %d P-steps, want 6 and 10", cost.ISteps, cost.PSteps)
	}
	p.Feature = reuse.HiddenFeature
	h := lastOutputs(t, p, batches)
	for k := range h[0] {
		near(t, "hidden, step 3", float64(h[3][k]), 0.5*float64(h[0][k])-float64(h[1][k])+2*float64(h[2][k]))
	}
}
