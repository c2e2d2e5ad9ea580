package reuse_test

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// signals computes everything and keeps, of every pass, what the first block's attention is given and what the first blocks add.
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

// computed is a policy around another that notes at which steps a block is computed for a batch of one.
type computed struct {
	reuse.Policy
	block int
	steps []bool
}

func (c *computed) NewRun(m seam.Model, plan reuse.Plan, samples int) (reuse.Run, error) {
	run, err := c.Policy.NewRun(m, plan, samples)
	return &computedRun{run, c}, err
}

type computedRun struct {
	reuse.Run
	c *computed
}

func (r *computedRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.c.steps = append(r.c.steps, false)
	r.Run.Begin(g, b, positions)
}

func (r *computedRun) Sites() seam.Sites { return r.Run.Sites() | seam.SitesOf(seam.Block) }

func (r *computedRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	if !r.Run.Sites().Has(at.Part) {
		r.c.steps[len(r.c.steps)-1] = true
		return f(x)
	}
	return r.Run.Apply(at, x, func(x *seam.Tokens) *seam.Tokens {
		if at == (seam.Site{Block: r.c.block, Part: seam.Block}) {
			r.c.steps[len(r.c.steps)-1] = true
		}
		return f(x)
	})
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

// TestAdaptiveDecisions holds that the methods that decide by what they see compute the steps that their definitions name. The inputs do not depend on what was computed.
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
	front := func(blocks int, threshold float64, warmup, most int) []bool {
		s := see(blocks)
		want, last, row := []bool{true}, 0, 0
		for p := 1; p < len(batches); p++ {
			full := p < warmup || most > 0 && row == most || relative(s.residual[p], s.residual[last]) >= threshold
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
			sum += max(0, poly(relative(s.modulated[p], s.modulated[p-1])))
			full := sum >= threshold || p == len(batches)-1
			want = append(want, full)
			if full {
				sum = 0
			}
		}
		return want
	}
	for text, want := range map[string][]bool{
		"fbcache:threshold=1.2":                             front(1, 1.2, 1, 0),
		"fbcache:threshold=1.2,warmup=3":                    front(1, 1.2, 3, 0),
		"fbcache:threshold=9,most=2":                        front(1, 9, 1, 2),
		"dbcache:front=2,back=1,threshold=1.1":              front(2, 1.1, 1, 0),
		"teacache:threshold=1":                              tea(1, func(x float64) float64 { return x }),
		"teacache:threshold=0.8,coefficients=-0.1+0.5+0+-2": tea(0.8, func(x float64) float64 { return -0.1 + 0.5*x - 2*x*x*x }),
		"deltadit:n=3,span=0.25,boundary=1":                 {true, true, true, true, true, true, true, true},    // block 2 is never skipped
		"deltadit:n=3,span=0.5,boundary=0.5":                {true, false, false, true, true, true, true, true},  // at the back in the first half
		"deltadit:n=2,span=0.75,boundary=0.375":             {true, false, true, true, false, true, false, true}, // in both halves
	} {
		c := &computed{Policy: parse(t, text), block: 2}
		outputs(t, m, c, batches, 1)
		if !slices.Equal(c.steps, want) {
			t.Errorf("%s: block 2 computed at %v, want %v", text, c.steps, want)
		}
	}
}

// TestDeltaDiTSpans holds which blocks each phase skips.
func TestDeltaDiTSpans(t *testing.T) {
	m := model(t)
	for block, want := range [][]bool{
		{true, true, true, true, true, false, false, true},
		{true, true, true, true, true, false, false, true},
		{true, false, false, true, true, true, true, true},
		{true, false, false, true, true, true, true, true},
	} {
		c := &computed{Policy: parse(t, "deltadit"), block: block}
		outputs(t, m, c, inputs(m, 1), 1)
		if !slices.Equal(c.steps, want) {
			t.Errorf("block %d computed at %v, want %v", block, c.steps, want)
		}
	}
}

// TestMethodsRefuseParameters holds that parameters without a meaning are refused with what is wanted.
func TestMethodsRefuseParameters(t *testing.T) {
	for _, text := range []string{
		"fbcache:threshold=-1", "fbcache:warmup=0", "fbcache:most=-1", "dbcache:front=0", "dbcache:back=-1", "dbcache:threshold=x", "teacache:threshold=NaN",
		"teacache:coefficients=1+2+3+4+5+6", "teacache:coefficients=Inf", "teacache:n=3", "deltadit:n=0", "deltadit:span=0", "deltadit:boundary=2",
	} {
		if p, err := reuse.Parse(text); err == nil {
			t.Errorf("%s: no error, but %s", text, p)
		}
	}
	m := model(t)
	pool := tensor.NewPool(1)
	defer pool.Close()
	if _, err := parse(t, "dbcache:front=2,back=2").NewRun(m, plan, 1); err == nil {
		t.Error("no error where no block is left to reuse")
	}
}

// TestTextOfPolicies holds that a policy's text is read as the policy, unless it was made by calibration.
func TestTextOfPolicies(t *testing.T) {
	for _, text := range append([]string{"tokencache:importance=random,seed=5"}, policies...) {
		if calibrated(text) {
			continue
		}
		p := parse(t, text)
		if again := parse(t, p.String()); again.String() != p.String() || !reflect.DeepEqual(again, p) {
			t.Errorf("%s: %s is read as %s", text, p, again)
		}
	}
}
