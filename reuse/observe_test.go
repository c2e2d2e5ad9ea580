package reuse_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TestObserve checks that observing changes nothing, whatever the policy, that the observer is told
// of every batch, step and site, and that it sees tokens as they came in.
func TestObserve(t *testing.T) {
	for _, arch := range archs {
		m := modelOf(t, arch)
		batches := inputs(m, 2)
		for _, text := range policies {
			t.Run(string(arch)+"/"+text, func(t *testing.T) {
				p := made(t, m, text)
				want, cost, _ := outputs(t, m, p, batches, 1)
				var started reuse.Run
				begun, resets, sites, computed := []int{}, 0, 0, 0
				var before []float32 // the first block's tokens at the step
				var g *tensor.Graph
				observed := reuse.Observe(p, reuse.Observer{
					Sites: seam.AllSites,
					Start: func(_ seam.Model, _ reuse.Plan, _ int, run reuse.Run) error {
						started = run
						return nil
					},
					Begin: func(graph *tensor.Graph, b *seam.Batch, positions []int) {
						g, begun = graph, append(begun, positions...)
						before = slices.Clone(m.Embed(graph, b).X.Flat())
					},
					Computed: func(seam.Site, *seam.Tokens, *seam.Tokens) { computed++ },
					Site: func(at seam.Site, in, out *seam.Tokens) {
						sites++
						if at == (seam.Site{Part: seam.Block}) && !slices.Equal(in.X.Flat(), before) {
							t.Error("the first block's tokens are not those that came in")
						}
						if out.X.Rows != in.X.Rows || out.X.Cols != m.Shape().Width {
							t.Errorf("%s: %v comes out for %v", at, out.X, in.X)
						}
						if at.Part == seam.Attention && in.ModulatedInput(g).Rows != in.X.Rows {
							t.Errorf("%s: no modulated input", at)
						}
					},
					Reset: func() { resets++ },
				})
				if bytes, err := observed.CacheBytes(m, plan, 2); err != nil {
					t.Errorf("%d bytes: %v", bytes, err)
				}
				got, gotCost, _ := outputs(t, m, observed, batches, 2)
				if diff := same(want, got); diff != "" {
					t.Error(diff)
				}
				if cost != gotCost {
					t.Errorf("counted %+v, want %+v", gotCost, cost)
				}
				// A pass that was rejected is begun again.
				if !slices.Equal(slices.Compact(begun), []int{0, 1, 2, 3, 4, 5, 6, 7}) || started == nil {
					t.Errorf("told of steps %v", begun)
				}
				if sites < computed || computed < m.Shape().Blocks {
					t.Errorf("told of %d sites and %d computations", sites, computed)
				}
				if run, err := observed.NewRun(m, plan, 2); err != nil {
					t.Error(err)
				} else if run.Reset(); resets != 1 {
					t.Errorf("told of %d resets", resets)
				}
				if observed.String() == "none" || !observed.WholeBatch() {
					t.Errorf("%s pretends to be none", observed)
				}
			})
		}
	}
}

// TestObserverRefuses checks that an observer may refuse a run.
func TestObserverRefuses(t *testing.T) {
	refused := errors.New("refused")
	p := reuse.Observe(reuse.None{}, reuse.Observer{
		Start: func(seam.Model, reuse.Plan, int, reuse.Run) error { return refused },
	})
	if _, err := p.NewRun(model(t), plan, 1); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
}
