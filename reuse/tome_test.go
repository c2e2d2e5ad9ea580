package reuse_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// shapeOnly is a model of which nothing but its shape is used.
type shapeOnly struct {
	seam.Model
	shape *seam.Shape
}

func (s shapeOnly) Shape() *seam.Shape { return s.shape }

// TestMerging checks merging on grids of even and odd side: how many tokens are left, that each
// cell keeps one, that those left are means of tokens, that tokens merge with those that they
// equal, and that every token gets the output of the one that stands for it.
func TestMerging(t *testing.T) {
	for _, side := range []int{4, 5} {
		t.Run(fmt.Sprint(side), func(t *testing.T) {
			n, width := side*side, 4
			m := shapeOnly{shape: &seam.Shape{Blocks: 2, Tokens: n, GridRows: side, GridCols: side, Width: 48}}
			pool := tensor.NewPool(1)
			defer pool.Close()
			g := tensor.NewGraph(pool)
			run, err := parse(t, "tome:ratio=0.5").NewRun(m, plan, 2)
			if err != nil {
				t.Fatal(err)
			}
			run.Begin(g, nil, []int{3, 4})
			// The tokens of a cell point in one direction, of three, each of another length.
			x := tensor.FromSlice(make([]float32, 2*n*width), 2*n, width)
			kind := func(row int) int { return (row%n/side/2*7 + row%n%side/2 + row/n) % 3 }
			for row := range x.Rows {
				x.Row(row)[kind(row)] = 1 + float32(row)
			}
			tokens := &seam.Tokens{X: x, Rows: tensor.Uniform(2, n), Pos: make([]int32, 2*n)}
			for i := range tokens.Pos {
				tokens.Pos[i] = int32(i % n)
			}
			var given *seam.Tokens
			y := run.Apply(seam.Site{Part: seam.Attention}, tokens, func(some *seam.Tokens) *seam.Tokens {
				given = some.With(tensor.FromSlice(slices.Clone(some.X.Flat()), some.X.Rows, width))
				out := some.With(g.New(some.X.Rows, width))
				for i := range out.X.Rows {
					for j := range width {
						out.X.Row(i)[j] = float32(i)
					}
				}
				return out
			})
			left := n - n/2
			if given.X.Rows != 2*left || y.X.Rows != 2*n {
				t.Fatalf("%d tokens are left and %d come out, want %d and %d", given.X.Rows, y.X.Rows, 2*left, 2*n)
			}
			means := make([][]float64, given.X.Rows)
			counts := make([]float64, given.X.Rows)
			for row := range y.X.Rows {
				i := int(y.X.Row(row)[0]) // of what is left
				if given.Rows.Sample[i] != int32(row/n) {
					t.Fatalf("row %d got the output of another sample's token", row)
				}
				if means[i] == nil {
					means[i] = make([]float64, width)
				}
				counts[i]++
				for j := range width {
					means[i][j] += float64(x.Row(row)[j])
				}
			}
			merged := 0
			for i, mean := range means {
				if counts[i] == 0 {
					t.Fatalf("nothing gets the output of token %d that is left", i)
				}
				directions := 0
				for j := range width {
					got, want := float64(given.X.Row(i)[j]), mean[j]/counts[i]
					if math.Abs(got-want) > 1e-5*want {
						t.Errorf("token %d of those left is %v, want the mean of %g tokens, %g", i, given.X.Row(i), counts[i], want)
					}
					if mean[j] != 0 {
						directions++
					}
				}
				if directions == 1 {
					merged += int(counts[i]) - 1
				}
			}
			if merged != 2*(n/2) {
				t.Errorf("%d tokens are merged with ones that point elsewhere", 2*(n/2)-merged)
			}
			// Each cell keeps a token in its place.
			for s := range 2 {
				cells := map[[2]int32]bool{}
				for i, pos := range given.Pos {
					if given.Rows.Sample[i] == int32(s) {
						cells[[2]int32{pos / int32(side) / 2, pos % int32(side) / 2}] = true
					}
				}
				if want := (side + 1) / 2 * ((side + 1) / 2); len(cells) != want {
					t.Errorf("sample %d: tokens are left in %d cells of %d", s, len(cells), want)
				}
			}
			if s := run.Stats(); s.ComputedRows != int64(2*left) || s.Rows != int64(2*n) {
				t.Errorf("counted %+v", s)
			}
		})
	}
	if _, err := reuse.Parse("tome:ratio=0.8"); err == nil {
		t.Error("no error for more merged tokens than there are sources")
	}
}
