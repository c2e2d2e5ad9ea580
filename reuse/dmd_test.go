package reuse

import (
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// series are features by time, of ten numbers.
var series = map[string]func(i int, t float64) float64{
	"one exponential": func(i int, t float64) float64 { return float64(i+1) * math.Pow(0.9, t) },
	"a constant and one exponential": func(i int, t float64) float64 {
		return math.Sin(float64(i)) + math.Cos(3*float64(i))*math.Pow(1.1, t)
	},
	"an oscillation that fades": func(i int, t float64) float64 {
		return math.Pow(0.95, t) * (math.Sin(float64(i)+0.3*t) + 0.5*math.Cos(2*float64(i)))
	},
}

// fitOf fits to snapshots of a series at the times 0, 1, ...
func fitOf(f func(i int, t float64) float64, snapshots int) (fit dmdFit, ok bool) {
	var products [maxHistory][maxHistory]float64
	for a := range snapshots {
		for b := range snapshots {
			for i := range 10 {
				products[a][b] += f(i, float64(a)) * f(i, float64(b))
			}
		}
	}
	return fitDMD(&products, snapshots)
}

// TestDMDIsExactOnExponentials checks that sums of exponentials are continued, by any step, also
// with more snapshots than they need.
func TestDMDIsExactOnExponentials(t *testing.T) {
	for name, f := range series {
		t.Run(name, func(t *testing.T) {
			for snapshots := minHistory; snapshots <= maxHistory; snapshots++ {
				fit, ok := fitOf(f, snapshots)
				if !ok {
					t.Fatalf("%d snapshots: no fit", snapshots)
				}
				for _, k := range []float64{0, 0.25, 1, 2.5} {
					var list [maxSmall]float32
					if !fit.weights(list[:], k) {
						t.Fatalf("%d snapshots: no weights", snapshots)
					}
					for i := range 10 {
						got := 0.0
						for j, w := range list[:snapshots-1] {
							got += float64(w) * f(i, float64(j+1))
						}
						if want := f(i, float64(snapshots-1)+k); math.Abs(got-want) > 1e-4*(1+math.Abs(want)) {
							t.Errorf("%d snapshots, number %d, %g later: %g, want %g", snapshots, i, k, got, want)
						}
					}
				}
			}
		})
	}
}

// TestDMDByHand checks the fit to 1, 2, 4 and 8, and that snapshots without a direction have none.
func TestDMDByHand(t *testing.T) {
	double := func(i int, t float64) float64 {
		if i > 0 {
			return 0
		}
		return math.Pow(2, t)
	}
	fit, ok := fitOf(double, 4)
	if !ok || fit.rank != 1 || math.Abs(real(fit.values[0])-2) > 1e-6 || imag(fit.values[0]) != 0 {
		t.Fatalf("eigenvalues %g of rank %d (%v), want 2 alone", fit.values, fit.rank, ok)
	}
	var list [maxSmall]float32
	fit.weights(list[:], 0.5)
	if got := 2*list[0] + 4*list[1] + 8*list[2]; math.Abs(float64(got)-8*math.Sqrt2) > 1e-5 {
		t.Errorf("half a step later %g, want 8·√2", got)
	}
	if _, ok := fitOf(func(int, float64) float64 { return 0 }, 5); ok {
		t.Error("there is a fit to zeros")
	}
	if _, ok := fitOf(func(int, float64) float64 { return math.NaN() }, 5); ok {
		t.Error("there is a fit to what is no number")
	}
}

// TestEvenSnapshots checks how many of the latest snapshots count as evenly spaced.
func TestEvenSnapshots(t *testing.T) {
	const slots = 5
	for _, test := range []struct {
		name      string
		positions []int
		want      int
	}{
		{"one", []int{0}, 1},
		{"two", []int{0, 4}, 2},
		{"a warmup", []int{0, 1, 2, 3}, 4},
		{"the first after a warmup", []int{0, 1, 2, 3, 8}, 2},
		{"the third after it", []int{0, 1, 2, 3, 8, 13, 18}, 4},
		{"more than are kept", []int{0, 1, 2, 3, 8, 13, 18, 23, 28}, 5},
		{"another spacing", []int{0, 2, 4, 6, 7, 9, 11}, 3},
		{"begun anew", []int{0, 1, 2, 3, 0, 1}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var d dmdSample
			for _, p := range test.positions {
				d.add(p, slots)
			}
			if got := d.even(slots); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

// TestDMDRun checks predictions of a run whose full steps predict a sum of exponentials, of another
// decay in each of two samples that are not at the same step: the truth where four evenly spaced
// steps are known, a straight line where fewer are.
func TestDMDRun(t *testing.T) {
	p := &DMD{Interval: 3, Warmup: 4, History: 6, Feature: OutputFeature}
	const steps, width, behind = 20, 10, 2
	m := shaped{shape: &seam.Shape{Blocks: 1, Tokens: 4, Width: 1, OutChannels: 1, LatentRows: 2, LatentCols: 5}}
	pool := tensor.NewPool(2)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	run, err := p.NewRun(m, Plan{Sampling: diffusion.Sampling{Steps: steps}, Timesteps: make([]float64, steps)}, 2)
	if err != nil {
		t.Fatal(err)
	}
	truth := func(sample, i, position int) float64 {
		at, decay := float64(position), 0.9+0.05*float64(sample)
		return math.Pow(decay, at)*math.Sin(float64(i)+0.2*at) + math.Cos(3*float64(i))
	}
	// Position 3 ends the warmup; full are 6, 9, 12, ... of which 3 to 12 are the first four.
	lineFrom := map[int][2]int{7: {3, 6}, 8: {3, 6}, 10: {6, 9}, 11: {6, 9}}
	check := func(sample, position int, got []float32) {
		for i, v := range got {
			want := truth(sample, i, position)
			if from, ok := lineFrom[position]; ok {
				a, b := truth(sample, i, from[0]), truth(sample, i, from[1])
				want = b + (b-a)*float64(position-from[1])/float64(from[1]-from[0])
			}
			if math.Abs(float64(v)-want) > 2e-3 {
				t.Errorf("sample %d, step %d, number %d: %g, want %g", sample, position, i, v, want)
			}
		}
	}
	for position := range steps {
		positions := []int{position, max(position-behind, 0)}
		g.Reset()
		run.Begin(g, nil, positions)
		out := tensor.FromSlice(make([]float32, 2*width), 2, width)
		for s, at := range positions {
			for i := range width {
				if out.Row(s)[i] = -1; p.full(at) {
					out.Row(s)[i] = float32(truth(s, i, at))
				}
			}
		}
		before := slices.Clone(out.Flat())
		if run.(seam.Finisher).Finish(out) {
			t.Fatal("a step was rejected")
		}
		for s, at := range positions {
			if p.full(at) && !slices.Equal(out.Row(s), before[s*width:(s+1)*width]) {
				t.Errorf("sample %d: full step %d was changed", s, at)
			}
			check(s, at, out.Row(s))
		}
	}
}
