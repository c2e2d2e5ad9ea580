package reuse

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// groups are six image tokens of width 2, in two groups, after a text's token that is far from
// both.
var groups = []float32{-90, 50, 0, 0, 10, 10, 1, 0, 11, 10, 0, 1, 10, 11}

// alike returns the tokens of samples that are alike.
func alike(samples int, tokens []float32) *tensor.Tensor {
	return tensor.FromSlice(slices.Repeat(tokens, samples), samples*len(tokens)/2, 2)
}

// TestClusters checks that clusters are the groups that tokens stand in, whatever the first
// centres, that they are the same in every sample and run, and that later ones start from the last
// centres.
func TestClusters(t *testing.T) {
	pool := tensor.NewPool(2)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	shape := &seam.Shape{Tokens: 7, Text: 1, Width: 2}
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := newClusters(shape, 2, 2, seed)
			update := func(position int, tokens []float32) []int32 {
				g.Reset()
				for s := range 2 {
					c.update(g, s, position, alike(2, tokens))
				}
				labels := slices.Clone(c.labelsOf(0))
				if !slices.Equal(labels, c.labelsOf(1)) {
					t.Errorf("clusters %v of one sample, %v of its like", labels, c.labelsOf(1))
				}
				return labels
			}
			first := update(0, groups)
			a, b := first[0], first[1]
			if a == b || !slices.Equal(first, []int32{a, b, a, b, a, b}) {
				t.Fatalf("clusters %v, want every second token in one", first)
			}
			for i, want := range map[int32]float32{a: 1. / 3, b: 31. / 3} {
				for _, v := range c.centres.Row(2 + int(i)) {
					if math.Abs(float64(v-want)) > 1e-5 {
						t.Errorf("centre %g, want the mean %g", v, want)
					}
				}
			}
			// The tokens of one group are now where those of the other were.
			moved := slices.Clone(groups)
			for i := range moved[2:] {
				moved[2+i] = 11 - groups[2+i]
			}
			if got := update(3, moved); !slices.Equal(got, []int32{b, a, b, a, b, a}) {
				t.Errorf("clusters %v after centres in %d and %d, want the nearest", got, a, b)
			}
			c.reset()
			if got := update(5, groups); !slices.Equal(got, first) {
				t.Errorf("clusters %v after a reset, want %v", got, first)
			}
			update(6, moved)
			if got := update(0, groups); !slices.Equal(got, first) {
				t.Errorf("clusters %v at a first step, want %v", got, first)
			}
		})
	}
}

// TestClusterDistance checks that tokens go to the centre that is nearest by L1, and of several to
// the first.
func TestClusterDistance(t *testing.T) {
	c := newClusters(&seam.Shape{Tokens: 3, Width: 2}, 1, 3, 0)
	copy(c.centres.Flat(), []float32{5, 2, 0, 0, 0, 0})
	c.x = tensor.FromSlice([]float32{3, 0, 5, 0, 0, 1}, 3, 2)
	for i, want := range []int32{1, 0, 1} { // by L2, the first would go to centre 0
		if c.nearest(i); c.labels[i] != want {
			t.Errorf("token %d is in cluster %d, want %d", i, c.labels[i], want)
		}
	}
}

// TestEmptyClusters checks that the centres of clusters without tokens stay where they are.
func TestEmptyClusters(t *testing.T) {
	pool := tensor.NewPool(1)
	defer pool.Close()
	c := newClusters(&seam.Shape{Tokens: 4, Width: 2}, 1, 3, 0)
	c.update(tensor.NewGraph(pool), 0, 0, tensor.FromSlice(slices.Repeat([]float32{2, 3}, 4), 4, 2))
	if !slices.Equal(c.labelsOf(0), make([]int32, 4)) {
		t.Errorf("equal tokens are in clusters %v, want all in the first", c.labelsOf(0))
	}
	if want := slices.Repeat([]float32{2, 3}, 3); !slices.Equal(c.centres.Flat(), want) {
		t.Errorf("centres %v, want %v", c.centres.Flat(), want)
	}
}
