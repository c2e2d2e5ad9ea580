package reuse

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TestGridFilter checks the filter against its definition, a discrete Fourier transform over the
// grid of each sample and channel, on grids of even, odd and unlike sides.
func TestGridFilter(t *testing.T) {
	const width = 3
	sigma := []float64{0.01, 0.7, 150}
	positions := []int{2, 0, 1, 1}
	for _, grid := range [][2]int{{4, 4}, {5, 3}, {2, 7}, {1, 6}} {
		t.Run(fmt.Sprint(grid), func(t *testing.T) {
			rows, cols := grid[0], grid[1]
			m := &seam.Shape{Tokens: rows * cols, GridRows: rows, GridCols: cols, Width: width}
			f := newGridFilter(m)
			for _, s := range sigma {
				f.add(spectralKernel(rows, s, 2), spectralKernel(cols, s, 2))
			}
			random := rand.New(rand.NewPCG(1, 1))
			x := newRows(len(positions)*m.Tokens, width)
			for i := range x.Data {
				x.Data[i] = float32(random.NormFloat64())
			}
			pool := tensor.NewPool(2)
			defer pool.Close()
			got := f.apply(tensor.NewGraph(pool), x, positions)
			for s, p := range positions {
				for channel := range width {
					value := func(of *tensor.Tensor, y, x int) float64 {
						return float64(of.Row(s*m.Tokens + y*cols + x)[channel])
					}
					want := filtered(rows, cols, sigma[p], func(i, j int) float64 { return value(x, i, j) })
					for y := range rows {
						for x := range cols {
							if d := math.Abs(value(got, y, x) - want[y][x]); !(d < 1e-5) {
								t.Fatalf("sample %d, token %d,%d: %g, want %g", s, y, x, value(got, y, x), want[y][x])
							}
						}
					}
				}
			}
		})
	}
}

// filtered returns the real part of the inverse transform of the transform times
// g(fy)·g(fx)/mean, at power 2.
func filtered(rows, cols int, sigma float64, in func(y, x int) float64) [][]float64 {
	a2 := 1 / (1 + sigma*sigma)
	a2 = min(max(a2, 1e-6), 1-1e-6)
	g := func(i, n int) float64 {
		f := float64(i) / float64(n)
		if f > 0.5 {
			f -= 1
		}
		s := 1 / (f*f + 1e-16)
		return math.Sqrt(a2) * s / (a2*s + 1 - a2 + 1e-16)
	}
	mean := 0.0
	for v := range rows {
		for u := range cols {
			mean += g(v, rows) * g(u, cols) / float64(rows*cols)
		}
	}
	wave := func(v, y, u, x int) complex128 {
		return cmplx.Rect(1, 2*math.Pi*(float64(v*y)/float64(rows)+float64(u*x)/float64(cols)))
	}
	out := make([][]float64, rows)
	for y := range out {
		out[y] = make([]float64, cols)
	}
	for v := range rows {
		for u := range cols {
			var sum complex128
			for y := range rows {
				for x := range cols {
					sum += complex(in(y, x), 0) * cmplx.Conj(wave(v, y, u, x))
				}
			}
			gain := g(v, rows) * g(u, cols) / mean
			for y := range rows {
				for x := range cols {
					out[y][x] += real(sum*wave(v, y, u, x)) * gain / float64(rows*cols)
				}
			}
		}
	}
	return out
}

// TestRecordedFilter checks the filter against what the public code made of two samples.
func TestRecordedFilter(t *testing.T) {
	c, err := checkpoint.Open("../testdata/cache-methods-2026/seacache.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	read := func(name string) []float32 {
		x, err := c.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	const samples, side, width = 2, 4, 48
	in := tensor.FromSlice(read("filter.in"), samples*side*side, width)
	pool := tensor.NewPool(2)
	defer pool.Close()
	for _, step := range []string{"s49", "s25", "s3"} {
		t.Run(step, func(t *testing.T) {
			ab, want := read("filter."+step+".ab"), read("filter."+step+".out")
			f := newGridFilter(&seam.Shape{Tokens: side * side, GridRows: side, GridCols: side, Width: width})
			weights := spectralKernel(side, float64(ab[1]/ab[0]), 2)
			f.add(weights, weights)
			got := f.apply(tensor.NewGraph(pool), in, make([]int, samples))
			for i, v := range got.Flat() {
				if d := math.Abs(float64(v - want[i])); !(d < 1e-5*(1+math.Abs(float64(want[i])))) {
					t.Fatalf("element %d: %g, want %g", i, v, want[i])
				}
			}
		})
	}
}

// TestSpectralGain checks what the filter does at its ends: next to nothing without noise, but for
// its scale, and nothing but the mean of the tokens where all is noise.
func TestSpectralGain(t *testing.T) {
	for _, test := range []struct {
		name  string
		sigma float64
		want  []float64
	}{
		{"no noise", 0, []float64{1, 1, 1, 1}},
		// With S = 16, 4, 16: g = 16/17, 4/5, 16/17 times sqrt(2), and sqrt(2) at frequency 0.
		{"as much noise as signal", 1, []float64{1 / 0.920588, 16. / 17 / 0.920588, 0.8 / 0.920588, 16. / 17 / 0.920588}},
		{"all noise", 1e4, []float64{4, 0, 0, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i, g := range spectralGain(4, test.sigma, 2) {
				if !(math.Abs(g-test.want[i]) < 1e-3) {
					t.Errorf("frequency %d: %g, want %g", i, g, test.want[i])
				}
			}
		})
	}
}
