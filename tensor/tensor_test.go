package tensor

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// withGraph runs f on a new Graph.
func withGraph(t testing.TB, workers int, f func(g *Graph)) {
	t.Helper()
	p := NewPool(workers)
	defer p.Close()
	f(NewGraph(p))
}

func random(r *rand.Rand, rows, cols int) *Tensor {
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return FromSlice(x, rows, cols)
}

// near reports how far got is from want, in units of what rounding may do to a sum of n products of
// size about 1.
func near(t *testing.T, what string, got []float32, want []float64, n int) {
	t.Helper()
	tolerance := 4 * math.Sqrt(float64(n)) * 0x1p-23
	for i := range want {
		if d := math.Abs(float64(got[i]) - want[i]); d > tolerance*(1+math.Abs(want[i])) || math.IsNaN(d) {
			t.Fatalf("%s: element %d is %g, want %g (tolerance %g)", what, i, got[i], want[i], tolerance)
		}
	}
}

func TestLinear(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range [][3]int{{1, 1, 1}, {2, 5, 7}, {17, 48, 100}, {64, 96, 50}, {130, 33, 290}} {
		rows, in, out := size[0], size[1], size[2]
		x, w, b := random(r, rows, in), random(r, out, in), random(r, 1, out)
		for i := range w.Data {
			w.Data[i] /= float32(math.Sqrt(float64(in)))
		}
		want := make([]float64, rows*out)
		for i := range rows {
			for j := range out {
				sum := float64(b.Data[j])
				for k := range in {
					sum += float64(x.Row(i)[k]) * float64(w.Row(j)[k])
				}
				want[i*out+j] = sum
			}
		}
		residual, gate := random(r, rows, out), random(r, 2, out)
		half := newRows([]int{0, rows / 2, rows})
		withGraph(t, 2, func(g *Graph) {
			weight := NewWeight(w.Data, out, in, b.Data)
			y := g.Linear(x, weight)
			near(t, fmt.Sprint("linear ", size), y.Flat(), want, in)
			if want := 2 * int64(rows*in*out); g.FLOPs() != want {
				t.Errorf("linear %v counts %d FLOPs, want %d", size, g.FLOPs(), want)
			}
			fused := g.LinearGateResidual(g.Copy(residual), gate, half, x, weight)
			apart := g.GateResidual(g.Copy(residual), gate, half, y)
			if !slices.Equal(fused.Flat(), apart.Flat()) {
				t.Errorf("linear %v: the fused gate rounds differently from the separate one", size)
			}
			for i, v := range want {
				want[i] = 0.5 * v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
			}
			near(t, fmt.Sprint("linear+GELU ", size), g.LinearGELU(x, weight).Flat(), want, in)
		})
	}
}

// reference computes attention in float64, and its column sums.
func reference(in AttentionInput) (out []float64, sums map[[3]int]float64) {
	dim := in.Q.Cols / in.Heads
	out, sums = make([]float64, in.Q.Rows*in.Q.Cols), map[[3]int]float64{}
	for s := range in.QRows.Samples() {
		for h := range in.Heads {
			for q := in.QRows.Start[s]; q < in.QRows.Start[s+1]; q++ {
				var p []float64
				var total float64
				for k := in.KRows.Start[s]; k < in.KRows.Start[s+1]; k++ {
					dot := 0.0
					for d := range dim {
						dot += float64(in.Q.Row(q)[h*dim+d]) * float64(in.K.Row(k)[h*dim+d])
					}
					dot /= math.Sqrt(float64(dim))
					if in.Bias != nil {
						dot += float64(in.Bias.Row(h)[int(in.QPlace[q]-in.KPlace[k])+in.BiasOrigin])
					}
					p = append(p, math.Exp(dot))
					total += math.Exp(dot)
				}
				for i, e := range p {
					sums[[3]int{s, h, i}] += e / total
					for d := range dim {
						out[q*in.Q.Cols+h*dim+d] += e / total * float64(in.V.Row(in.KRows.Start[s] + i)[h*dim+d])
					}
				}
			}
		}
	}
	return out, sums
}

func TestAttentionOverRaggedSamples(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const positions = 70
	for _, c := range []struct {
		name          string
		heads, dim    int
		queries, keys []int
		bias, colSums bool
	}{
		{name: "one sample", heads: 1, dim: 72, queries: []int{70}, keys: []int{70}},
		{name: "ragged", heads: 3, dim: 12, queries: []int{5, 0, 33}, keys: []int{5, 0, 33}},
		{name: "fewer queries than keys", heads: 2, dim: 32, queries: []int{7, 70, 1}, keys: []int{70, 70, 9}},
		{name: "bias", heads: 2, dim: 24, queries: []int{40, 3}, keys: []int{61, 17}, bias: true},
		{name: "column sums", heads: 4, dim: 16, queries: []int{40, 3}, keys: []int{70, 17}, colSums: true},
		{name: "both", heads: 1, dim: 64, queries: []int{64}, keys: []int{64}, bias: true, colSums: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := func(counts []int) *Rows {
				start := []int{0}
				for _, n := range counts {
					start = append(start, start[len(start)-1]+n)
				}
				return newRows(start)
			}
			in := AttentionInput{Heads: c.heads, QRows: rows(c.queries), KRows: rows(c.keys)}
			width := c.heads * c.dim
			kv := random(r, in.KRows.Len(), 2*width)
			in.Q = random(r, in.QRows.Len(), width)
			places := func(rows *Rows) (pos []int32) {
				for s := range rows.Samples() {
					p := r.Perm(positions)[:rows.Start[s+1]-rows.Start[s]]
					for _, p := range p {
						pos = append(pos, int32(p))
					}
				}
				return pos
			}
			if c.bias {
				in.Bias, in.BiasOrigin = random(r, c.heads, 2*positions-1), positions-1
				in.QPlace, in.KPlace = places(in.QRows), places(in.KRows)
			}
			most := slices.Max(c.keys)
			var first []float32
			for _, workers := range []int{1, 2, 8} {
				withGraph(t, workers, func(g *Graph) {
					in.K, in.V = g.Columns(kv, 0, width), g.Columns(kv, width, 2*width)
					if c.colSums {
						in.ColSums = g.New(in.KRows.Samples(), c.heads*most)
					}
					want, sums := reference(in)
					got := g.Attention(in).Flat()
					near(t, "attention", got, want, c.dim+most)
					if first == nil {
						first = slices.Clone(got)
					} else if !slices.Equal(first, got) {
						t.Errorf("%d workers give other bits than 1", workers)
					}
					for key, want := range sums {
						if c.colSums {
							got := in.ColSums.Row(key[0])[key[1]*most+key[2]]
							near(t, fmt.Sprint("column sum ", key), []float32{got}, []float64{want}, c.dim+most)
						}
					}
				})
			}
		})
	}
}

func TestPatchesThereAndBack(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	withGraph(t, 1, func(g *Graph) {
		const c, h, w, p = 3, 6, 4, 2
		x := random(r, 2, c*h*w)
		patches := g.Patchify(x, c, h, w, p)
		mustMatch("patches", patches, 2*3*2, c*p*p)
		// The last layer's order has channels innermost.
		back := g.New(patches.Rows, patches.Cols)
		for i := range patches.Rows {
			for ch := range c {
				for j := range p * p {
					back.Row(i)[j*c+ch] = patches.Row(i)[ch*p*p+j]
				}
			}
		}
		if got := g.Unpatchify(back, c, h, w, p); !slices.Equal(got.Flat(), x.Flat()) {
			t.Error("patchify and unpatchify are not inverse")
		}
		if got, want := patches.Row(1)[0], x.Row(0)[2]; got != want {
			t.Errorf("patch 1 begins with %g, want the pixel in column 2, %g", got, want)
		}
	})
}

func TestGatherScatter(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	withGraph(t, 2, func(g *Graph) {
		x := random(r, 50, 400)
		index := []int32{3, 4, 9, 20, 49}
		picked := g.Gather(x, index)
		dst := g.Copy(x)
		clear(dst.Row(9))
		g.Scatter(dst, index, picked)
		if !slices.Equal(dst.Flat(), x.Flat()) {
			t.Error("scattering what was gathered does not restore it")
		}
		alpha := g.New(5, 1)
		for i := range 5 {
			alpha.Row(i)[0] = float32(i) / 4
		}
		b := g.Blend(alpha, picked, g.Gather(x, []int32{0, 0, 0, 0, 0}))
		if !slices.Equal(b.Row(4), x.Row(49)) || !slices.Equal(b.Row(0), x.Row(0)) {
			t.Error("alpha 1 is not the fresh row, or alpha 0 not the cached one")
		}
	})
}

func TestRowsOfSamples(t *testing.T) {
	withGraph(t, 1, func(g *Graph) {
		r := g.Rows([]int32{2, 0, 3})
		if !slices.Equal(r.Start, []int{0, 2, 2, 5}) || !slices.Equal(r.Sample, []int32{0, 0, 2, 2, 2}) {
			t.Errorf("rows %v %v", r.Start, r.Sample)
		}
	})
}

func TestReleasedMemoryIsUsedAgain(t *testing.T) {
	withGraph(t, 1, func(g *Graph) {
		g.New(10, 10)
		m := g.Mark()
		a := g.New(300, 300)
		g.Release(m)
		if b := g.New(300, 300); &a.Data[0] != &b.Data[0] {
			t.Error("released memory was not handed out again")
		}
		pass := func() {
			g.Reset()
			x := g.New(100, 100)
			for range 50 {
				m := g.Mark()
				g.Add(x, x)
				g.Columns(x, 0, 3)
				g.Rows(g.Ints(3)[:0])
				g.Release(m)
			}
		}
		pass()
		if n := testing.AllocsPerRun(10, pass); n > 0 {
			t.Errorf("%v allocations after warm-up", n)
		}
	})
}

// TestPool runs rounds of every number of parts from several goroutines at once, with pauses that
// let helpers fall asleep.
func TestPool(t *testing.T) {
	for _, workers := range []int{1, 2, 8} {
		p := NewPool(workers)
		var wg sync.WaitGroup
		for range 3 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				g := NewGraph(p)
				for n := range 300 {
					x := g.New(n+1, 101)
					clear(x.Data)
					one := g.New(1, 101)
					for i := range one.Data {
						one.Data[i] = 1
					}
					g.AddCyclic(x, one)
					for i, v := range x.Flat() {
						if v != 1 {
							t.Errorf("%d workers, %d rows: element %d was computed %v times", workers, n+1, i, v)
							return
						}
					}
					g.Reset()
				}
			}()
		}
		wg.Wait()
		p.Close()
	}
}

func TestCancelledGraphDoesNothing(t *testing.T) {
	withGraph(t, 2, func(g *Graph) {
		ctx, cancel := context.WithCancel(context.Background())
		g.SetContext(ctx)
		x := random(rand.New(rand.NewPCG(9, 9)), 4, 4)
		if g.AddInto(x, x); g.Err() != nil {
			t.Fatal(g.Err())
		}
		before := slices.Clone(x.Data)
		cancel()
		g.AddInto(x, x)
		if g.Err() == nil || !slices.Equal(before, x.Data) {
			t.Error("an operation ran after cancellation")
		}
	})
}

func TestSplitCoversEverythingOnce(t *testing.T) {
	for n := range 70 {
		for _, unit := range []int{1, 8} {
			for parts := 1; parts < 12; parts++ {
				s := newSplit(n, unit, parts)
				at := 0
				for i := range s.parts {
					lo, hi := s.bounds(i)
					if lo != at || hi < lo || lo%unit != 0 {
						t.Fatalf("split %+v: part %d is %d to %d after %d", s, i, lo, hi, at)
					}
					at = hi
				}
				if at != n {
					t.Fatalf("split %+v ends at %d", s, at)
				}
			}
		}
	}
}

// TestObserve checks that an observed pool computes what it computes otherwise, and tells of all parts.
func TestObserve(t *testing.T) {
	pool := NewPool(4)
	defer pool.Close()
	g := NewGraph(pool)
	fill := func() []float32 {
		x := g.New(512, 64)
		g.EachRow(x.Rows, x.Cols, func(i int) {
			for j := range x.Cols {
				x.Row(i)[j] = float32(i * j)
			}
		})
		return slices.Clone(x.Flat())
	}
	want := fill()
	var parts []int
	pool.Observe(func(took []time.Duration) { parts = append(parts, len(took)) })
	if !slices.Equal(fill(), want) {
		t.Error("an observed operation computes something else")
	}
	pool.Observe(nil)
	fill()
	if len(parts) != 1 || parts[0] < 4 {
		t.Errorf("parts of the operations observed: %v, want those of one, at least 4", parts)
	}
}
