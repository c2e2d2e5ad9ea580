package reuse

import (
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// cluscaBed runs a ClusCa on one block of five tokens of width 1, of which the first is a text's.
// The MLP's output for token i at position p is i + p·(i+1), and what comes after the block puts
// tokens 1 and 2 in one cluster, 3 and 4 in another.
type cluscaBed struct {
	g        *tensor.Graph
	run      *cluscaRun
	computed []int32 // by the MLP at the last step
}

func newCluscaBed(t *testing.T, p *ClusCa) *cluscaBed {
	t.Helper()
	pool := tensor.NewPool(1)
	t.Cleanup(pool.Close)
	m := shaped{shape: &seam.Shape{Blocks: 1, Tokens: 5, Text: 1, GridRows: 2, GridCols: 2, Width: 1}}
	run, err := p.NewRun(m, Plan{Sampling: diffusion.Sampling{Steps: 6}, Timesteps: make([]float64, 6)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &cluscaBed{g: tensor.NewGraph(pool), run: run.(*cluscaRun)}
}

func mlpOf(token int32, position int) float64 {
	return float64(token) + float64(position)*float64(token+1)
}

// step returns the MLP's outputs at a position.
func (b *cluscaBed) step(position int) []float32 {
	b.g.Reset()
	b.run.Begin(b.g, nil, []int{position})
	rows, pos := new(seam.Layout).Of(1, 5)
	x := &seam.Tokens{X: tensor.FromSlice(make([]float32, 5), 5, 1), Rows: rows, Pos: pos}
	mlp := func(some *seam.Tokens) *seam.Tokens {
		b.computed = slices.Clone(some.Pos)
		y := b.g.New(some.X.Rows, 1)
		for i, token := range some.Pos {
			y.Row(i)[0] = float32(mlpOf(token, position))
		}
		return some.With(y)
	}
	var out []float32
	b.run.Apply(seam.Site{}, x, func(x *seam.Tokens) *seam.Tokens {
		out = slices.Clone(b.run.Apply(seam.Site{Part: seam.MLP}, x, mlp).X.Flat())
		return x.With(tensor.FromSlice([]float32{50, 0, 1, 100, 101}, 5, 1))
	})
	return out
}

// TestClusCaPropagation checks outputs against the definition, worked out token by token: with
// full steps 0, 1 and 4, what is computed in between, of one token of each cluster and the text,
// moves the rest of the cluster.
func TestClusCaPropagation(t *testing.T) {
	const gamma = 0.25
	p := NewClusCa()
	p.Interval, p.Order, p.Clusters, p.Gamma = 3, 1, 2, gamma
	b := newCluscaBed(t, p)
	var d0, d1 [5]float64
	last := 0
	for position := range 6 {
		got := b.step(position)
		if position < 2 || position == 4 {
			if !slices.Equal(b.computed, []int32{0, 1, 2, 3, 4}) {
				t.Fatalf("step %d computes tokens %v, want all", position, b.computed)
			}
			for i := range d0 {
				v := mlpOf(int32(i), position)
				if position > 0 {
					d1[i] = (v - d0[i]) / float64(position-last)
				}
				d0[i] = v
				if got[i] != float32(v) {
					t.Errorf("step %d, token %d: %g, want %g", position, i, got[i], v)
				}
			}
			last = position
			continue
		}
		if c := b.computed; len(c) != 3 || c[0] != 0 || c[1] != 1 && c[1] != 2 || c[2] != 3 && c[2] != 4 {
			t.Fatalf("step %d computes tokens %v, want the text's and one of each cluster", position, c)
		}
		for i := range d0 {
			of := int32(0) // the computed token that counts for it
			if i > 0 {
				of = b.computed[1+(i-1)/2]
			}
			v := mlpOf(of, position)
			if int32(i) == of {
				d0[i] = v
			} else {
				d0[i] = gamma*v + (1-gamma)*d0[i]
			}
			want := d0[i] + d1[i]*float64(position-last)
			if math.Abs(float64(got[i])-want) > 1e-5 {
				t.Errorf("step %d, token %d: %g, want %g", position, i, got[i], want)
			}
		}
	}
}

// TestClusCaMeans checks that with several tokens of a cluster their mean is propagated.
func TestClusCaMeans(t *testing.T) {
	p := NewClusCa()
	p.Order, p.Clusters, p.PerCluster, p.Gamma = 0, 1, 3, 0.5
	b := newCluscaBed(t, p)
	b.step(0)
	b.step(1)
	got := b.step(2)
	if len(b.computed) != 4 {
		t.Fatalf("tokens %v are computed, want the text's and three", b.computed)
	}
	for i := int32(1); i < 5; i++ {
		if slices.Contains(b.computed, i) {
			continue
		}
		mean := 0.0
		for _, of := range b.computed[1:] {
			mean += mlpOf(of, 2) / 3
		}
		if want := mean/2 + mlpOf(i, 1)/2; math.Abs(float64(got[i])-want) > 1e-5 {
			t.Errorf("token %d: %g, want %g", i, got[i], want)
		}
	}
}

// TestClusCaChoice checks that every token is chosen at some step and block, that blocks choose
// for themselves, and that where a cluster has too few tokens others make up the number.
func TestClusCaChoice(t *testing.T) {
	p := NewClusCa()
	p.Clusters, p.PerCluster = 2, 2
	run, err := p.NewRun(shaped{shape: &seam.Shape{Blocks: 1, Tokens: 6, Width: 1}}, Plan{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := run.(*cluscaRun)
	copy(r.clusters.labels, []int32{1, 1, 1, 0, 1, 1})
	var times [6]int
	differ := 0
	for position := range 40 {
		r.positions = []int{position}
		var before []bool
		for block := range 2 {
			r.choose(block, 0)
			count := 0
			for i, chosen := range r.chosen {
				if chosen {
					times[i]++
					count++
				}
			}
			if count != 4 || !r.chosen[3] {
				t.Fatalf("chosen %v, want 4 with the only token of its cluster", r.chosen)
			}
			if block == 1 && !slices.Equal(before, r.chosen) {
				differ++
			}
			before = slices.Clone(r.chosen)
		}
	}
	// Three of the other five are chosen 80 times, each of them 48 times in the mean.
	for i, n := range times {
		if i != 3 && (n < 30 || n > 66) {
			t.Errorf("token %d was chosen %d times of 80, want about 48", i, n)
		}
	}
	if differ < 20 {
		t.Errorf("two blocks chose differently at %d steps of 40", differ)
	}
}
