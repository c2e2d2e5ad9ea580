package reuse_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// easyReference is EasyCache's definition for one image without or with guidance: the rows of x and
// of the predictions are its samples. It returns the predictions, and which steps were computed.
func easyReference(
	x, uncached [][][]float64, noise int, threshold float64, warmup int, decides []int,
) (list [][][]float64, computed []bool) {
	change := func(a, b [][]float64, n int) float64 {
		sum := 0.0
		for _, row := range decides {
			for i := range n {
				v := a[row][i]
				if b != nil {
					v -= b[row][i]
				}
				sum += math.Abs(v)
			}
		}
		return sum
	}
	last, rate, sum := -1, math.NaN(), 0.0
	for p := range x {
		full := p < warmup || p == len(x)-1
		if !full {
			sum += rate * change(x[p], x[p-1], noise) / change(uncached[last], nil, noise)
			full = !(sum < threshold)
		}
		computed = append(computed, full)
		if full {
			if last >= 0 {
				rate = change(uncached[p], uncached[last], noise) / change(x[p], x[last], noise)
			}
			last, sum = p, 0
		}
		var out [][]float64
		for row := range x[p] {
			v := slices.Clone(uncached[last][row])
			for i := range noise {
				v[i] += x[p][row][i] - x[last][row][i]
			}
			out = append(out, v)
		}
		list = append(list, out)
	}
	return list, computed
}

// rowsOf splits values into rows of numbers.
func rowsOf(values []float32, rows int) [][]float64 {
	var list [][]float64
	for row := range slices.Chunk(values, len(values)/rows) {
		var v []float64
		for _, x := range row {
			v = append(v, float64(x))
		}
		list = append(list, v)
	}
	return list
}

// TestEasyCache checks decisions and predictions against the definition, alone and under guidance.
func TestEasyCache(t *testing.T) {
	m := model(t)
	for _, test := range []struct {
		params  string
		guided  bool
		decides []int // the samples whose means count
	}{
		{"", false, []int{0}},
		{",halves=separate", false, []int{0}},
		{",halves=conditional", false, []int{0}},
		{"", true, []int{0, 1}},
		{",halves=conditional", true, []int{0}},
	} {
		for _, threshold := range []float64{0, 0.5, 0.8, 1.2} {
			text := fmt.Sprintf("easycache:threshold=%g,warmup=2%s", threshold, test.params)
			t.Run(fmt.Sprintf("%s, guided %v", text, test.guided), func(t *testing.T) {
				batches := inputs(m, 1)
				if test.guided {
					batches = guided(m, batches)
				}
				n := batches[0].Samples()
				uncached, _, _ := outputs(t, m, reuse.None{}, batches, 1)
				var x, out [][][]float64
				for p, b := range batches {
					x, out = append(x, rowsOf(b.X.Data, n)), append(out, rowsOf(uncached[p], n))
				}
				want, computed := easyReference(x, out, batches[0].X.Cols, threshold, 2, test.decides)
				for p, halves := range computedHalves(t, parse(t, text), batches) {
					if !slices.Equal(halves, slices.Repeat([]bool{computed[p]}, n)) {
						t.Errorf("step %d computes %v, want %v", p, halves, computed[p])
					}
				}
				got, _, _ := outputs(t, m, parse(t, text), batches, 1)
				for p := range got {
					for s, row := range rowsOf(got[p], n) {
						for i, v := range row {
							if math.Abs(v-want[p][s][i]) > 1e-5 {
								t.Fatalf("step %d, sample %d, element %d: %g, want %g", p, s, i, v, want[p][s][i])
							}
						}
					}
				}
			})
		}
	}
}

// TestEasyCacheSeparateHalves checks that a half that skips by itself leaves out its own rows
// alone, and is what it would be without the other.
func TestEasyCacheSeparateHalves(t *testing.T) {
	m := model(t)
	batches := guided(m, inputs(m, 1))
	differ := 0
	for _, threshold := range []float64{0.34, 0.36, 0.54} {
		p := &reuse.EasyCache{Threshold: threshold, Warmup: 2, Halves: reuse.SeparateHalves}
		both := computedHalves(t, p, batches)
		for s := range 2 {
			for step, alone := range computedHalves(t, p, pick(batches, s)) {
				if both[step][s] != alone[0] {
					t.Errorf("threshold %g, step %d: half %d computed: %v, alone %v",
						threshold, step, s, both[step][s], alone[0])
				}
			}
		}
		for _, halves := range both {
			if halves[0] != halves[1] {
				differ++
			}
		}
	}
	if differ == 0 {
		t.Error("no half was skipped by itself")
	}
}
