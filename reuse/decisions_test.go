package reuse_test

import (
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// signals computes everything and keeps, of every pass, the modulated input of the first block's
// attention and the residual of the first blocks.
type signals struct {
	g         *tensor.Graph
	front     int
	modulated [][]float32
	residual  [][]float32
	start     []float32
}

func (s *signals) Sites() seam.Sites { return seam.AllSites }

func (s *signals) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	if at.Block == 0 && at.Part == seam.Attention {
		s.modulated = append(s.modulated, slices.Clone(x.ModulatedInput(s.g).Flat()))
	}
	if at.Part != seam.Block {
		return f(x)
	}
	if at.Block == 0 {
		s.start = slices.Clone(x.X.Flat())
	}
	y := f(x)
	if at.Block == s.front-1 {
		added := slices.Clone(y.X.Flat())
		for i, v := range s.start {
			added[i] -= v
		}
		s.residual = append(s.residual, added)
	}
	return y
}

// computedSteps returns the steps at which a policy computes a block, for a batch of one.
func computedSteps(t *testing.T, m net, p reuse.Policy, block int) []bool {
	t.Helper()
	var list []bool
	outputs(t, m, reuse.Observe(p, reuse.Observer{
		Sites: seam.SitesOf(seam.Block),
		Begin: func(*tensor.Graph, *seam.Batch, []int) { list = append(list, false) },
		Computed: func(at seam.Site, _, _ *seam.Tokens) {
			if at == (seam.Site{Block: block, Part: seam.Block}) {
				list[len(list)-1] = true
			}
		},
	}), inputs(m, 1), 1)
	return list
}

// relative is the L1 change of x against before.
func relative(x, before []float32) float64 {
	change, size := 0.0, 0.0
	for i := range x {
		change += math.Abs(float64(x[i] - before[i]))
		size += math.Abs(float64(before[i]))
	}
	return change / size
}

// TestAdaptiveDecisions checks that methods that decide by their input compute the steps that their
// definitions name. The inputs do not depend on what was computed.
func TestAdaptiveDecisions(t *testing.T) {
	m := model(t)
	batches := inputs(m, 1)
	pool := tensor.NewPool(1)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	see := func(front int) *signals {
		s := &signals{g: g, front: front}
		for _, b := range batches {
			g.Reset()
			m.Forward(g, s, b)
		}
		return s
	}
	front := func(blocks int, threshold float64, warmup, limit int) []bool {
		s := see(blocks)
		want, last, row := []bool{true}, 0, 0
		for p := 1; p < len(batches); p++ {
			full := p < warmup || limit > 0 && row == limit || relative(s.residual[p], s.residual[last]) >= threshold
			want = append(want, full)
			row++
			if full {
				last, row = p, 0
			}
		}
		return want
	}
	tea := func(threshold float64, poly func(float64) float64) []bool {
		s := see(1)
		want, sum := []bool{true}, 0.0
		for p := 1; p < len(batches); p++ {
			sum += poly(relative(s.modulated[p], s.modulated[p-1]))
			full := sum >= threshold || p == len(batches)-1
			want = append(want, full)
			if full {
				sum = 0
			}
		}
		return want
	}
	identity := func(x float64) float64 { return x }
	falling := func(x float64) float64 { return -0.25 + x + 0.1*x*x } // below 0 for the smallest changes
	for text, want := range map[string][]bool{
		"fbcache:threshold=1.2":                           front(1, 1.2, 1, 0),
		"fbcache:threshold=1.2,warmup=3":                  front(1, 1.2, 3, 0),
		"fbcache:threshold=9,most=2":                      front(1, 9, 1, 2),
		"dbcache:front=2,back=1,threshold=1.1":            front(2, 1.1, 1, 0),
		"teacache:threshold=1":                            tea(1, identity),
		"teacache:threshold=0.1,coefficients=-0.25+1+0.1": tea(0.1, falling),
		// Block 2 is never skipped; is at the back in the first half; is in both halves.
		"deltadit:n=3,span=0.25,boundary=1":     {true, true, true, true, true, true, true, true},
		"deltadit:n=3,span=0.5,boundary=0.5":    {true, false, false, true, true, true, true, true},
		"deltadit:n=2,span=0.75,boundary=0.375": {true, false, true, true, false, true, false, true},
	} {
		t.Run(text, func(t *testing.T) {
			if got := computedSteps(t, m, parse(t, text), 2); !slices.Equal(got, want) {
				t.Errorf("block 2 computed at %v, want %v", got, want)
			}
		})
	}
}

// TestDeltaDiTRanges checks which blocks each phase skips.
func TestDeltaDiTRanges(t *testing.T) {
	m := model(t)
	for block, want := range [][]bool{
		{true, true, true, true, true, false, false, true},
		{true, true, true, true, true, false, false, true},
		{true, false, false, true, true, true, true, true},
		{true, false, false, true, true, true, true, true},
	} {
		if got := computedSteps(t, m, parse(t, "deltadit"), block); !slices.Equal(got, want) {
			t.Errorf("block %d computed at %v, want %v", block, got, want)
		}
	}
}
