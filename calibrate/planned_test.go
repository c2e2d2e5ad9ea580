package calibrate

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// TestPlannedCalibrations checks that the methods whose full steps are planned make policies with
// as many as are wanted, or with the speed that is wanted.
func TestPlannedCalibrations(t *testing.T) {
	steps := func(made *reuse.Trained) []int {
		switch {
		case made.DP != nil:
			return made.DP.List
		case made.CEM != nil:
			return made.CEM.List
		}
		return made.L2P.List
	}
	for _, c := range []struct {
		name   string
		method Method
		full   int // as wanted
		speed  float64
	}{
		{"dpcache", &DPCache{First: 2, Full: 5}, 5, 0},
		{"dpcache at a speed", NewDPCache(), 0, 1.5},
		{"cem", &CEM{Weight: CEMLinear, Interval: 1, Full: 4}, 4, 0},
		{"cem at a speed", NewCEM(), 0, 1.5},
		{"l2p", &L2P{First: 2, Feature: reuse.HiddenFeature, Columns: ComputedColumns, Full: 4}, 4, 0},
		{"l2p of the output", &L2P{First: 1, Feature: reuse.OutputFeature, Columns: AllColumns}, 3, 0},
		{"l2p at a speed", NewL2P(), 0, 1.4},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, o := tiny(t)
			o.Speed = c.speed
			made, err := Run(context.Background(), p, c.method, o)
			if err != nil {
				t.Fatal(err)
			}
			list := steps(made)
			if c.full > 0 && len(list) != c.full || list[0] != 0 {
				t.Errorf("full steps %v, want %d", list, c.full)
			}
			if c.speed > 0 && math.Abs(math.Log(made.Speed.FLOPs/c.speed)) > 0.2 {
				t.Errorf("%g times fewer FLOPs, want %g", made.Speed.FLOPs, c.speed)
			}
			reread(t, p, o, made)
		})
	}
	p, o := tiny(t)
	o.Speed = 50
	if _, err := Run(context.Background(), p, NewDPCache(), o); err == nil {
		t.Error("no error for a speed that cannot be met")
	}
}

// TestMeasuresDoNotDependOnBatches checks that costs, priors and products are those of all samples
// together, whatever their batches.
func TestMeasuresDoNotDependOnBatches(t *testing.T) {
	p, o := tiny(t)
	measure := func(batch int) (*PathCosts, *Priors, *Gram) {
		costs, priors, gram := &PathCosts{}, &Priors{}, &Gram{Feature: reuse.OutputFeature}
		for _, policy := range []reuse.Policy{costs.Policy(), priors.Policy(), gram.Policy()} {
			_, err := p.Generate(context.Background(), tokencache.Request{
				Classes:  []int{1, 2, 3},
				Policy:   policy,
				Batch:    batch,
				Sampling: o.Sampling,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return costs, priors, gram
	}
	alike := func(what string, x, y float64) {
		if math.Abs(x-y) > 1e-4*math.Abs(x)+1e-9 && x != y {
			t.Errorf("%s: %g and %g", what, x, y)
		}
	}
	costs, priors, gram := measure(3)
	costs2, priors2, gram2 := measure(2)
	steps := costs.Steps
	if steps != 8 || priors.images != 3 || priors2.images != 3 {
		t.Fatalf("%d steps, %d and %d images, want 8 and 3", steps, priors.images, priors2.images)
	}
	for a := range steps {
		for i := range steps {
			for j := range steps + 1 {
				alike("cost", costs.At(a, i, j), costs2.At(a, i, j))
			}
			alike("product", gram.G[a][i], gram2.G[a][i])
			alike("transposed", gram.G[a][i], gram.G[i][a])
		}
	}
	for gap := 1; gap < maxGap; gap++ {
		for i := range steps {
			alike("prior", priors.At(gap, i), priors2.At(gap, i))
			if (i < gap) != (priors.At(gap, i) == 0) {
				t.Errorf("prior of %d steps at %d: %g", gap, i, priors.At(gap, i))
			}
		}
	}
	if !math.IsInf(costs.At(2, 2, 3), 1) || !math.IsInf(costs.At(1, 3, 3), 1) || costs.At(0, 1, 2) != 0 ||
		!(costs.At(1, 2, 8) > costs.At(1, 2, 3)) {
		t.Error("costs of ways that there are not, or that are free, or long")
	}
}

// TestPlanPath checks paths of planPath against the cheapest of all, where costs do not depend on
// the key step before, so that its recursion is exact; and that mandatory steps are on them.
func TestPlanPath(t *testing.T) {
	const steps = 12
	r := rand.New(rand.NewPCG(3, 4))
	var costs [steps + 1][steps + 1]float64
	for i := range costs {
		for j := range costs {
			costs[i][j] = r.Float64()
		}
	}
	cost := func(_, i, j int) float64 { return costs[i][j] }
	for _, c := range []struct{ count, first, last int }{{4, 1, 0}, {5, 2, 0}, {6, 3, 1}, {12, 3, 0}} {
		list, whole := planPath(cost, steps, c.count, c.first, c.last)
		if !whole || len(list) != c.count {
			t.Fatalf("%+v: %v", c, list)
		}
		for p := range steps {
			if (p < c.first || p >= steps-c.last) && !slices.Contains(list, p) {
				t.Errorf("%+v: %v lacks step %d", c, list, p)
			}
		}
		best := math.Inf(1)
		each(steps, c.count, func(other []int) {
			longest := steps - other[len(other)-1]
			for i := 1; i < len(other); i++ {
				longest = max(longest, other[i]-other[i-1])
			}
			for p := range steps {
				if (p < c.first || p >= steps-c.last) && !slices.Contains(other, p) {
					return
				}
			}
			if longest <= 3 { // maxPathJump of the steps
				best = min(best, pathCost(cost, steps, other))
			}
		})
		if got := pathCost(cost, steps, list); math.Abs(got-best) > 1e-12 {
			t.Errorf("%+v: %v costs %g, the cheapest %g", c, list, got, best)
		}
	}
	if list, whole := planPath(cost, steps, 2, 1, 0); whole || len(list) != 2 {
		t.Errorf("%v ends at the last step, although the way is too long", list)
	}
}

// each calls f with every rising list of count of steps positions that begins at 0.
func each(steps, count int, f func(list []int)) {
	var extend func(list []int)
	extend = func(list []int) {
		if len(list) == count {
			f(list)
			return
		}
		for p := list[len(list)-1] + 1; p < steps; p++ {
			extend(append(slices.Clone(list), p))
		}
	}
	extend([]int{0})
}

// TestPriorPlans checks that full steps lie where the output turns, and that gaps keep to their
// bounds.
func TestPriorPlans(t *testing.T) {
	const steps = 21
	values := make([][]float64, maxGap-1)
	for gap := range values {
		values[gap] = make([]float64, steps)
		for p := gap + 1; p < steps; p++ {
			values[gap][p] = 1e-3 * float64(gap+1)
			if p > steps/2 {
				values[gap][p] *= 100
			}
		}
	}
	priors := NewPriors(values)
	list, ok := priors.Plan(7, 2, CEMQuadratic)
	if !ok || len(list) != 7 || list[0] != 0 || list[6] != steps-1 {
		t.Fatalf("plan %v", list)
	}
	for i := 1; i < len(list); i++ {
		if g := list[i] - list[i-1]; g < 1 || g > 5 || i > 1 && g > list[i-1]-list[i-2] {
			t.Errorf("gaps of %v: want 1 to 5, shorter towards the end", list)
		}
	}
	if _, ok := priors.Plan(2, 1, CEMNone); ok {
		t.Error("a gap of 20 steps")
	}
}

// TestGramWeights checks weights on features that follow from earlier ones exactly, and that only
// the steps that count have weights.
func TestGramWeights(t *testing.T) {
	// Features over five steps that lie on a parabola: each follows from any three.
	r := rand.New(rand.NewPCG(5, 6))
	const steps = 5
	g := &Gram{G: make([][]float64, steps)}
	for i := range g.G {
		g.G[i] = make([]float64, steps)
	}
	for range 200 {
		a, b, c := r.NormFloat64(), r.NormFloat64(), r.NormFloat64()
		var f [steps]float64
		for p := range f {
			x := float64(p)
			f[p] = a + b*x + c*x*x/4
		}
		for i := range f {
			for j := range f {
				g.G[i][j] += f[i] * f[j]
			}
		}
	}
	w, err := g.Weights([]int{0, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{1, -3, 3, 0, 0} { // the parabola through the three at position 3
		if math.Abs(w[3][i]-want) > 0.05 {
			t.Errorf("weights %v, want 1, -3, 3", w[3])
		}
	}
	if slices.ContainsFunc(w[0], func(v float64) bool { return v != 0 }) {
		t.Errorf("weights of the first step: %v", w[0])
	}
	if _, err := (&Gram{G: [][]float64{{0, 0}, {0, 0}}}).Weights(nil); err == nil {
		t.Error("no error for features that are zero")
	}
}
