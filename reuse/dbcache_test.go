package reuse

import (
	"math"
	"testing"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TestDBCacheLimits checks which steps compute everything where the change is small enough at all
// steps but those that a text marks with x.
func TestDBCacheLimits(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy DBCache
		change string // x: too large
		want   string // 1: everything is computed
	}{
		{"no limits", DBCache{Warmup: 1}, "....x....x", "1000100001"},
		{"warmup", DBCache{Warmup: 4}, "..........", "1111000000"},
		{"warmup's interval", DBCache{Warmup: 6, WarmupInterval: 2}, "...x......", "1011100000"},
		{"in a row", DBCache{Warmup: 4, MaxContinuous: 3}, "................", "1111000100010001"},
		{"two in a row", DBCache{Warmup: 1, MaxContinuous: 2}, "..........", "1001001001"},
		// The count of 2 stays, and goes on at the second reuse after the change.
		{"a change does not end the count", DBCache{Warmup: 4, MaxContinuous: 3}, "......x.......", "11110010010001"},
		{"in all", DBCache{Warmup: 2, MaxCached: 3}, "...x......", "1101001111"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &dbRun{policy: test.policy, reused: []reuses{{all: 5, row: 2, last: 7}}}
			got := ""
			for p, change := range test.change {
				if r.mayReuse(0, p) && change != 'x' {
					r.reused[0].add(p)
					got += "0"
				} else {
					got += "1"
				}
			}
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestForecastResidual checks that a range of blocks whose residual is forecast adds what its
// Taylor series says, from the first position on that makes differences.
func TestForecastResidual(t *testing.T) {
	pool := tensor.NewPool(1)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	m := &seam.Shape{Blocks: 3, Tokens: 2, Width: 4}
	added := func(p float64) float64 { return 3 + 2*p + 0.5*p*p } // what the blocks really add
	for _, test := range []struct {
		order int
		want  func(last, before, p float64) float64
	}{
		{1, func(last, before, p float64) float64 {
			return added(last) + (p-last)*(added(last)-added(before))/(last-before)
		}},
		{2, func(last, before, p float64) float64 {
			slope := (added(last) - added(before)) / (last - before)
			earlier := (added(before) - added(2)) / (before - 2)
			h := p - last
			return added(last) + slope*h + (slope-earlier)/(last-before)*h*h/2
		}},
	} {
		r := newForecastResidual(m, 1, 3, 1, test.order)
		r.past.since = 3
		for p, computed := range []bool{true, false, true, false, true, true, false, false} {
			g.Reset()
			r.positions = []int{p}
			action := []residualAction{reuseResidual}
			if computed {
				action[0] = recordResidual
			}
			x := newRows(2, 4)
			for i := range x.Data {
				x.Data[i] = float32(i)
			}
			r.before(g, 1, x, action)
			want := added(float64(p))
			if computed {
				for i := range x.Data {
					x.Data[i] += float32(want)
				}
			}
			r.after(g, 2, x, action)
			switch p {
			case 1:
				want = added(0)
			case 3: // position 2 is too early for a difference
				want = added(2)
			case 6, 7:
				want = test.want(5, 4, float64(p))
			}
			for i, v := range x.Data {
				if math.Abs(float64(v)-float64(i)-want) > 1e-4 {
					t.Fatalf("order %d, position %d: %g added, want %g", test.order, p, v-float32(i), want)
				}
			}
		}
	}
}
