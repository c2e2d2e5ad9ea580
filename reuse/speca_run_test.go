package reuse_test

import (
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TestSpeCaRejects checks that where every forecast is rejected everything comes out as uncached,
// at the price of the verified blocks, and that rejected passes are no steps.
func TestSpeCaRejects(t *testing.T) {
	for _, arch := range archs {
		t.Run(string(arch), func(t *testing.T) {
			m := modelOf(t, arch)
			batches := guided(m, inputs(m, 2))
			for p, b := range batches { // no forecast comes within the lowest tolerance
				for k := range b.X.Data {
					b.X.Data[k] *= float32(1 + p%2)
				}
			}
			want, _, uncachedFLOPs := outputs(t, m, reuse.None{}, batches, 1)
			p := parse(t, "speca:order=1,threshold=0,min=0,reject=true,metric=relative-l1")
			got, cost, flops := outputs(t, m, p, batches, 2)
			if diff := same(want, got); diff != "" {
				t.Error(diff)
			}
			if all := 4 * len(batches); cost.ISteps != all || cost.PSteps != 0 {
				t.Errorf("%d I-steps and %d P-steps, want %d and none", cost.ISteps, cost.PSteps, all)
			}
			// Every pass but the first is preceded by one that computes the last of four blocks.
			rows := int64(4 * len(batches) * 2 * m.Shape().Blocks * m.Shape().Tokens)
			checks := int64(4 * (len(batches) - 1) * 2 * m.Shape().Tokens)
			if cost.Rows != rows || cost.ComputedRows != rows+checks {
				t.Errorf("%d of %d rows, want %d of %d", cost.ComputedRows, cost.Rows, rows+checks, rows)
			}
			if flops <= uncachedFLOPs {
				t.Errorf("%d FLOPs, want more than the uncached model's %d", flops, uncachedFLOPs)
			}
		})
	}
}

// TestSpeCaKeepsForecasts checks that verified steps come out as those that are not, and compute
// the last block alone.
func TestSpeCaKeepsForecasts(t *testing.T) {
	for _, arch := range archs {
		t.Run(string(arch), func(t *testing.T) {
			m := modelOf(t, arch)
			batches := inputs(m, 1)
			lax := "speca:order=2,threshold=1e9,decay=1,max=4,metric=l2"
			verified, cost, _ := outputs(t, m, parse(t, lax+",min=1"), batches, 2)
			unverified, _, _ := outputs(t, m, parse(t, lax+",min=9"), batches, 2)
			if diff := same(unverified, verified); diff != "" {
				t.Error(diff)
			}
			// Full at 0, 2 and 7; verified at 4, 5 and 6.
			if want := int64((3*m.Shape().Blocks + 3) * 2 * m.Shape().Tokens); cost.ComputedRows != want {
				t.Errorf("%d rows computed, want %d", cost.ComputedRows, want)
			}
			want := []int{4, 0, 4, 0, 1, 1, 1, 4}
			if got := blocksComputed(t, m, parse(t, lax+",min=1"), batches); !slices.Equal(got, want) {
				t.Errorf("%v blocks computed, want %v", got, want)
			}
		})
	}
}

// blocksComputed returns for each step of one sample in how many blocks the MLP was computed.
func blocksComputed(t *testing.T, m net, p reuse.Policy, batches []*seam.Batch) []int {
	t.Helper()
	var list []int
	outputs(t, m, reuse.Observe(p, reuse.Observer{
		Sites: seam.SitesOf(seam.MLP),
		Begin: func(*tensor.Graph, *seam.Batch, []int) { list = append(list, 0) },
		Computed: func(at seam.Site, x, _ *seam.Tokens) {
			if at.Part == seam.MLP {
				list[len(list)-1]++
			}
		},
	}), batches, 1)
	return list
}

// TestSpeCaError checks that a forecast is measured against the block's own output: what does not
// change is forecast without an error, and is never rejected.
func TestSpeCaError(t *testing.T) {
	m := model(t)
	still := slices.Repeat(inputs(m, 2)[:1], 8)
	_, cost, _ := outputs(t, m, parse(t, "speca:threshold=0,min=0,max=3,reject=true,metric=l1"), still, 1)
	// Full at 0, 2 and 6.
	if cost.ISteps != 2*3 || cost.PSteps != 2*5 {
		t.Errorf("%d I-steps and %d P-steps, want 6 and 10", cost.ISteps, cost.PSteps)
	}
}
