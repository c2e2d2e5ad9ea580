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

// subject is a policy on a model, and what it made of some batches.
type subject struct {
	m        net
	text     string
	kind     reuse.Kind
	by       reuse.Granularity
	batches  []*seam.Batch
	uncached [][]float32
	got      [][]float32
	cost     reuse.Cost
	flops    int64
}

func (s *subject) policy(t *testing.T) reuse.Policy { return made(t, s.m, s.text) }

// law is a law that policies of some kinds obey, on every model.
type law struct {
	name  string
	of    func(s *subject) bool
	check func(t *testing.T, s *subject)
}

func always(*subject) bool           { return true }
func keeps(s *subject) bool          { return s.kind != reuse.Merges }
func reusesBranches(s *subject) bool { return s.kind == reuse.Caches && s.by == reuse.ByBranch }
func needsGuidance(s *subject) bool  { return strings.HasPrefix(s.text, "fastercache") }
func keptKeys(s *subject) bool       { return strings.Contains(s.text, "keys=kept") }

// ridge reports whether a forecast is drawn to 0 by its regression.
func ridge(s *subject) bool {
	return strings.HasPrefix(s.text, "spectrum") && !strings.Contains(s.text, "lam=1e-7")
}

// propagates reports whether tokens are mixed with others.
func propagates(s *subject) bool {
	return strings.HasPrefix(s.text, "clusca") && !strings.Contains(s.text, "gamma=0,")
}

func kind(k reuse.Kind) func(s *subject) bool { return func(s *subject) bool { return s.kind == k } }

var laws = []law{
	{"predictions are finite", always, finitePredictions},
	{"every step is counted", always, everyStepCounted},
	{"workers make no difference", always, workersAlike},
	{"permuting samples permutes results", always, permutable},
	{"a reset run behaves as new", always, resettable},
	{"the first step is the uncached model's", keeps, firstStepUncached},
	{"computing everything is the uncached run", always, everythingComputed},
	{"what does not change is reused without error", func(s *subject) bool { return keeps(s) && !keptKeys(s) && !ridge(s) && !propagates(s) }, steady},
	{"it is the uncached run", kind(reuse.Uncached), neverReuses},
	{"something is reused", func(s *subject) bool { return s.kind != reuse.Uncached && !needsGuidance(s) }, reusesSomething},
	{"a reused branch has the bits of the last computed one", reusesBranches, reusedBits},
	{"a skipped step computes no block", kind(reuse.SkipsSteps), skipsWholeSteps},
	{"no step depends on an earlier one", kind(reuse.Merges), stepsIndependent},
}

func TestConformance(t *testing.T) {
	for _, arch := range archs {
		t.Run(string(arch), func(t *testing.T) {
			t.Parallel()
			m := modelOf(t, arch)
			batches := inputs(m, 3)
			uncached, _, _ := outputs(t, m, reuse.None{}, batches, 1)
			for _, text := range policies {
				t.Run(text, func(t *testing.T) {
					p := made(t, m, text)
					s := &subject{
						m:        m,
						text:     text,
						kind:     p.Kind(),
						by:       p.Granularity(),
						batches:  batches,
						uncached: uncached,
					}
					s.got, s.cost, s.flops = outputs(t, m, p, batches, 1)
					for _, l := range laws {
						if l.of(s) {
							t.Run(l.name, func(t *testing.T) { l.check(t, s) })
						}
					}
				})
			}
		})
	}
}

func finitePredictions(t *testing.T, s *subject) {
	for p := range s.got {
		for _, v := range s.got[p] {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				t.Fatalf("step %d: %g", p, v)
			}
		}
	}
}

func everyStepCounted(t *testing.T, s *subject) {
	if all := 3 * len(s.batches); s.cost.ISteps+s.cost.PSteps != all {
		t.Errorf("%d I-steps and %d P-steps, want %d in all", s.cost.ISteps, s.cost.PSteps, all)
	}
}

func workersAlike(t *testing.T, s *subject) {
	for _, workers := range []int{2, 8} {
		again, _, flops := outputs(t, s.m, s.policy(t), s.batches, workers)
		if diff := same(s.got, again); diff != "" {
			t.Errorf("%d workers: %s", workers, diff)
		}
		if flops != s.flops {
			t.Errorf("%d workers: %d FLOPs, want %d", workers, flops, s.flops)
		}
	}
}

var turn = []int{2, 0, 1}

func permutable(t *testing.T, s *subject) {
	turned, _, _ := outputs(t, s.m, s.policy(t), pick(s.batches, turn...), 2)
	for p := range s.got {
		n := len(s.got[p]) / 3
		for to, from := range turn {
			if !slices.Equal(turned[p][to*n:(to+1)*n], s.got[p][from*n:(from+1)*n]) {
				t.Fatalf("step %d: sample %d changed with its place in the batch", p, from)
			}
		}
	}
}

func resettable(t *testing.T, s *subject) {
	pool := tensor.NewPool(2)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	run, err := s.policy(t).NewRun(s.m, plan, 3)
	if err != nil {
		t.Fatal(err)
	}
	steps(g, s.m, run, pick(s.batches, turn...))
	run.Reset()
	if diff := same(s.got, steps(g, s.m, run, s.batches)); diff != "" {
		t.Error(diff)
	}
}

func firstStepUncached(t *testing.T, s *subject) {
	if diff := same(s.uncached[:1], s.got[:1]); diff != "" {
		t.Error(diff)
	}
}

func neverReuses(t *testing.T, s *subject) {
	if diff := same(s.uncached, s.got); diff != "" || s.cost.PSteps != 0 {
		t.Errorf("%d P-steps %s", s.cost.PSteps, diff)
	}
}

func reusesSomething(t *testing.T, s *subject) {
	if same(s.uncached, s.got) == "" || s.cost.PSteps == 0 {
		t.Errorf("nothing was reused, at %d P-steps", s.cost.PSteps)
	}
}

// everythingComputed checks that I-steps only, all tokens kept, or none merged, are the uncached
// run.
func everythingComputed(t *testing.T, s *subject) {
	method, _, _ := strings.Cut(s.text, ":")
	var more []string
	switch method {
	case "fora", "taylorseer", "hicache", "clusca", "dmd", "fastercache", "deltadit":
		more = []string{"n=1"}
	case "dpcache", "cem":
		more = []string{"i=,n=1"}
	case "toca", "duca":
		more = []string{"n=1,ratio=0"}
	case "fbcache", "dbcache", "teacache", "seacache", "easycache":
		more = []string{"threshold=0"}
	case "magcache":
		more = []string{"skips=0"}
	case "spectrum":
		more = []string{"window=1,flex=0"}
	case "tome":
		more = []string{"ratio=0"}
	case "tokencache", "random", "update-norm":
		more = []string{"k=1,k2=1,ratio=1"}
		if strings.Contains(s.text, "half=") {
			more = []string{"half=,warmup=8"}
		} else if strings.Contains(s.text, "learned=true") {
			more = []string{"k=1"}
		} else {
			more = append(more, "k=1,k2=1", "ratio=1")
		}
	default:
		return
	}
	for _, pairs := range more {
		p := made(t, s.m, s.text)
		set(t, p.(interface{ Set(key, value string) error }), pairs)
		all, _, _ := outputs(t, s.m, p, s.batches, 2)
		if diff := same(s.uncached, all); diff != "" {
			t.Errorf("%s: %s", pairs, diff)
		}
	}
}

// steady checks that where nothing changes from step to step what is reused or forecast is what
// would have been computed, to rounding.
func steady(t *testing.T, s *subject) {
	still := slices.Repeat(s.batches[:1], len(s.batches))
	got, _, _ := outputs(t, s.m, s.policy(t), still, 2)
	worst, squares := 0.0, 0.0
	for p := range got {
		for i, v := range got[p] {
			want := float64(s.uncached[0][i])
			worst = max(worst, math.Abs(float64(v)-want))
			squares += want * want / float64(len(got)*len(got[p]))
		}
	}
	// Sums of a few hundred numbers in another order.
	if rounding := 1e-4 * math.Sqrt(squares); !(worst < rounding) {
		t.Errorf("an error of %g, want less than %g", worst, rounding)
	}
}

// reusedBits checks, for one sample, that the output of a branch that was not computed is, bit for
// bit, that of the last step at which it was.
func reusedBits(t *testing.T, s *subject) {
	last, reused := map[seam.Site][]float32{}, 0
	computed := false
	p := reuse.Observe(s.policy(t), reuse.Observer{
		Computed: func(seam.Site, *seam.Tokens, *seam.Tokens) { computed = true },
		Site: func(at seam.Site, _, out *seam.Tokens) {
			switch now := slices.Clone(out.X.Flat()); {
			case computed:
				last[at] = now
			case !slices.Equal(now, last[at]):
				t.Errorf("%s: another output", at)
			default:
				reused++
			}
			computed = false
		},
	})
	outputs(t, s.m, p, pick(s.batches, 0), 2)
	if reused == 0 {
		t.Error("no branch was reused")
	}
}

// skipsWholeSteps checks, for one sample, that at each step all blocks are computed or none is.
func skipsWholeSteps(t *testing.T, s *subject) {
	var rows [][]int // of each step and block: tokens whose MLP was computed
	p := reuse.Observe(s.policy(t), reuse.Observer{
		Sites: seam.SitesOf(seam.MLP),
		Begin: func(*tensor.Graph, *seam.Batch, []int) { rows = append(rows, make([]int, s.m.Shape().Blocks)) },
		Computed: func(at seam.Site, x, _ *seam.Tokens) {
			if at.Part == seam.MLP {
				rows[len(rows)-1][at.Block] += x.X.Rows
			}
		},
	})
	outputs(t, s.m, p, pick(s.batches, 0), 2)
	skipped := 0
	for step, blocks := range rows {
		if slices.Min(blocks) != slices.Max(blocks) || blocks[0] != 0 && blocks[0] != s.m.Shape().Tokens {
			t.Errorf("step %d computes %v tokens of the blocks", step, blocks)
		}
		if blocks[0] == 0 {
			skipped++
		}
	}
	if skipped == 0 {
		t.Error("no step was skipped")
	}
}

func stepsIndependent(t *testing.T, s *subject) {
	pool := tensor.NewPool(2)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	for p, b := range s.batches {
		run, err := s.policy(t).NewRun(s.m, plan, 3)
		if err != nil {
			t.Fatal(err)
		}
		run.Begin(g, b, []int{p, p, p})
		if !slices.Equal(s.m.Forward(g, run, b).Flat(), s.got[p]) {
			t.Errorf("step %d is another one after no other", p)
		}
		g.Reset()
	}
}

// TestBodySite checks that site=body spares pruned tokens the branches of blocks with a long skip
// and not the map that joins it, and that on models without long skips it is the same as
// site=whole.
func TestBodySite(t *testing.T) {
	const samples = 3
	for _, arch := range archs {
		m := modelOf(t, arch)
		batches := inputs(m, samples)
		for _, text := range []string{
			"tokencache:keys=kept,selection=per-block,importance=random,k=2", "tokencache:ratio=0,k=2",
		} {
			t.Run(string(arch)+"/"+text, func(t *testing.T) {
				whole, _, wholeFLOPs := outputs(t, m, parse(t, text), batches, 2)
				body, stats, bodyFLOPs := outputs(t, m, parse(t, text+",site=body"), batches, 2)
				if arch != dit.ArchMDTv2 {
					if diff := same(whole, body); diff != "" || bodyFLOPs != wholeFLOPs {
						t.Errorf("body differs from whole: %s", diff)
					}
					return
				}
				if same(whole, body) == "" {
					t.Error("body is the same as whole")
				}
				// Every block has a share of the pruned tokens; three of the four have a long skip.
				// Where nothing is computed their modulation still is.
				pruned := stats.Rows - stats.ComputedRows
				want := pruned / 4 * 3 * 4 * int64(m.Shape().Width*m.Shape().Width)
				if strings.Contains(text, "ratio=0") {
					want += int64(stats.PSteps) * 3 * 12 * int64(m.Shape().Width*m.Shape().Width)
				}
				if got := bodyFLOPs - wholeFLOPs; pruned == 0 || got != want {
					t.Errorf("body takes %d FLOPs more than whole, want %d", got, want)
				}
			})
		}
	}
}

// TestMixedSteps checks that samples of one batch may be at different steps: each comes out as in a
// batch of its own.
func TestMixedSteps(t *testing.T) {
	m := model(t)
	all := inputs(m, 2)
	for _, text := range policies {
		t.Run(text, func(t *testing.T) {
			var alone [2][][]float32
			for s := range alone {
				alone[s], _, _ = outputs(t, m, made(t, m, text), pick(all, s), 1)
			}
			pool := tensor.NewPool(2)
			defer pool.Close()
			g := tensor.NewGraph(pool)
			run, err := made(t, m, text).NewRun(m, plan, 2)
			if err != nil {
				t.Fatal(err)
			}
			// The second sample is a step behind; it waits at its first step.
			for p := range all {
				behind := max(p-1, 0)
				first, second := all[p], all[behind]
				b := &seam.Batch{
					X:    tensor.FromSlice(slices.Concat(first.X.Row(0), second.X.Row(1)), 2, first.X.Cols),
					T:    []float32{first.T[0], second.T[1]},
					Cond: []seam.Condition{first.Cond[0], second.Cond[1]},
				}
				out := step(g, m, run, b, p, behind)
				if !slices.Equal(out.Row(0), alone[0][p]) || !slices.Equal(out.Row(1), alone[1][behind]) {
					t.Errorf("step %d next to %d differs from batches of one", p, behind)
				}
			}
		})
	}
}
