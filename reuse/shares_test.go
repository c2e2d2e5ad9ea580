package reuse_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// isAdaptive reports whether a policy decides by its input what it computes.
func isAdaptive(text string) bool {
	method, _, _ := strings.Cut(text, ":")
	return slices.Contains([]string{"fbcache", "dbcache", "teacache", "seacache", "easycache", "speca"}, method)
}

// TestShares checks the shares that policies say they compute at each step against the rows that
// their runs count, with and without guidance. Policies that decide by their input say nothing.
func TestShares(t *testing.T) {
	texts := append(slices.Clone(policies), "tokencache:selection=grid,cell=2,ratio=0.7",
		"tokencache:selection=per-block,ratio=0.3", "toca:scheduler=ddpm250", "tome:ratio=0.75")
	for _, arch := range archs {
		m := modelOf(t, arch)
		for _, guidance := range []float64{1, 2} {
			plan := plan
			plan.Guidance = guidance
			batches := inputs(m, 2)
			if guidance > 1 {
				batches = guided(m, batches)
			}
			for _, text := range texts {
				t.Run(fmt.Sprintf("%s/%g/%s", arch, guidance, text), func(t *testing.T) {
					p := made(t, m, text)
					scheduled, ok := p.(reuse.Scheduled)
					if ok == isAdaptive(text) {
						t.Fatalf("scheduled: %v", ok)
					}
					if !ok {
						return
					}
					got, err := scheduled.Shares(m.Shape(), plan)
					if err != nil {
						t.Fatal(err)
					}
					want := countedShares(t, m, p, batches)
					for p := range want {
						if math.Abs(got[p]-want[p]) > 1e-12 {
							t.Errorf("step %d: a share of %g, counted %g", p, got[p], want[p])
						}
					}
				})
			}
		}
	}
}

// countedShares returns the share of the rows that a run counts at each step.
func countedShares(t *testing.T, m net, p reuse.Policy, batches []*seam.Batch) []float64 {
	t.Helper()
	pool := tensor.NewPool(1)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	run, err := p.NewRun(m, plan, batches[0].Samples())
	if err != nil {
		t.Fatal(err)
	}
	var list []float64
	for position, b := range batches {
		before := run.Stats()
		step(g, m, run, b, slices.Repeat([]int{position}, b.Samples())...)
		cost := run.Stats().Since(before)
		share := 1.0 // of none, which counts no rows
		if cost.Rows > 0 {
			share = float64(cost.ComputedRows) / float64(cost.Rows)
		}
		list = append(list, share)
	}
	return list
}

// TestSharesOfWrappers checks that trained and observed policies have the shares of those inside,
// or none.
func TestSharesOfWrappers(t *testing.T) {
	m := model(t)
	for _, text := range []string{"fora", "tokencache", "teacache"} {
		var want []float64
		if s, ok := parse(t, text).(reuse.Scheduled); ok {
			var err error
			if want, err = s.Shares(m.Shape(), plan); err != nil {
				t.Fatal(err)
			}
		}
		trained := &reuse.Trained{Fingerprint: m.Shape().Fingerprint, Sampling: plan.Sampling, Spec: reuse.Spec(text)}
		observed := reuse.Observe(trained, reuse.Observer{}).(reuse.Scheduled)
		for _, p := range []reuse.Scheduled{trained, trained.Spec, observed} {
			t.Run(fmt.Sprintf("%T of %s", p, text), func(t *testing.T) {
				got, err := p.Shares(m.Shape(), plan)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("shares %v (%v), want %v", got, err, want)
				}
			})
		}
	}
}
