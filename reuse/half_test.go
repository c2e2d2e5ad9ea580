package reuse_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// halfPolicy computes steps 0, 1 and 4 whole, of 2, 3 and 6 the conditional half, and forecasts the
// rest to be as they were last.
func halfPolicy() *reuse.TokenCache {
	p := reuse.NewTokenCache()
	p.Ratio, p.Learned = 0, true
	p.Steps = reuse.StepChoice{Kind: reuse.ListedSteps, Warmup: 1, List: []int{0, 1, 4}, Half: []int{2, 3, 6}}
	p.Forecast = reuse.NewForecast(len(plan.Timesteps), 2)
	for i := range plan.Timesteps {
		p.Forecast.At(i)[0] = 1
	}
	return p
}

// TestHalfSteps checks what a half step computes and what it derives, and the laws of every policy
// on guidance's pairs.
func TestHalfSteps(t *testing.T) {
	const images = 2
	for _, arch := range archs {
		t.Run(string(arch), func(t *testing.T) {
			m := modelOf(t, arch)
			batches := guided(m, inputs(m, images))
			uncached, _, uncachedFLOPs := outputs(t, m, reuse.None{}, batches, 1)
			got, stats, flops := outputs(t, m, halfPolicy(), batches, 1)
			size := len(got[0]) / (2 * images)
			t.Run("computes", func(t *testing.T) {
				for p, is := range []byte("IIhhIPhP") {
					n := 0 // samples with the uncached model's bits
					for n < 2*images && slices.Equal(uncached[p][n*size:(n+1)*size], got[p][n*size:(n+1)*size]) {
						n++
					}
					if want := map[byte]int{'I': 2 * images, 'h': images, 'P': 0}[is]; n != want {
						t.Errorf("step %d (%c): %d samples are the uncached model's, want %d", p, is, n, want)
					}
				}
				if stats.ISteps != 2*images*3 || stats.PSteps != 2*images*5 || stats.HalfSteps != 2*images*3 {
					t.Errorf("counted %+v", stats)
				}
				if share := float64(flops) / float64(uncachedFLOPs); share < 4.5/8 || share > 0.62 {
					t.Errorf("%.2f of the FLOPs", share)
				}
			})
			t.Run("workers", func(t *testing.T) {
				for _, workers := range []int{2, 8} {
					again, _, againFLOPs := outputs(t, m, halfPolicy(), batches, workers)
					if diff := same(got, again); diff != "" || againFLOPs != flops {
						t.Errorf("%d workers: %d FLOPs, want %d %s", workers, againFLOPs, flops, diff)
					}
				}
			})
			// Sample 1 is at 3, its pair 3 at 0; 0 is at 1, its pair 2 at 2.
			turn := []int{3, 0, 2, 1}
			turned := pick(batches, turn...)
			for _, b := range turned {
				b.Unconditional = []int{-1, 2, -1, 0}
			}
			t.Run("permutation", func(t *testing.T) {
				permuted, _, _ := outputs(t, m, halfPolicy(), turned, 2)
				for p := range got {
					for to, from := range turn {
						if !slices.Equal(permuted[p][to*size:(to+1)*size], got[p][from*size:(from+1)*size]) {
							t.Fatalf("step %d: sample %d changed with its place in the batch", p, from)
						}
					}
				}
			})
			t.Run("reset", func(t *testing.T) {
				pool := tensor.NewPool(2)
				defer pool.Close()
				g := tensor.NewGraph(pool)
				run, err := halfPolicy().NewRun(m, plan, 2*images)
				if err != nil {
					t.Fatal(err)
				}
				steps(g, m, run, turned)
				run.Reset()
				if diff := same(got, steps(g, m, run, batches)); diff != "" {
					t.Error(diff)
				}
			})
			t.Run("still", func(t *testing.T) { halfStepsStill(t, m, batches[0]) })
			t.Run("unpaired", func(t *testing.T) { halfStepsUnpaired(t, m, inputs(m, images)) })
		})
	}
}

// halfStepsStill checks that where nothing changes from step to step, the derived half is what the
// model would compute.
func halfStepsStill(t *testing.T, m net, b *seam.Batch) {
	still := slices.Repeat([]*seam.Batch{b}, plan.Steps())
	want, _, _ := outputs(t, m, reuse.None{}, still, 1)
	got, _, _ := outputs(t, m, halfPolicy(), still, 1)
	for p := range got {
		for i, v := range got[p] {
			if math.Abs(float64(v-want[p][i])) > 1e-4*(1+math.Abs(float64(v))) {
				t.Fatalf("step %d, element %d: %g, want %g", p, i, v, want[p][i])
			}
		}
	}
}

// halfStepsUnpaired checks that without guidance, or where nothing says which samples are its
// halves, half steps compute everything.
func halfStepsUnpaired(t *testing.T, m net, batches []*seam.Batch) {
	whole := halfPolicy()
	whole.Steps.List, whole.Steps.Half = []int{0, 1, 2, 3, 4, 6}, nil
	a, _, _ := outputs(t, m, whole, batches, 1)
	b, _, _ := outputs(t, m, halfPolicy(), batches, 1)
	if diff := same(a, b); diff != "" {
		t.Error(diff)
	}
}

// TestHalfStepsMixed checks that pairs of one batch may be at different steps.
func TestHalfStepsMixed(t *testing.T) {
	m := model(t)
	all := guided(m, inputs(m, 2))
	// pair returns an image's two halves at each step.
	pair := func(image int) []*seam.Batch {
		batches := pick(all, image, 2+image)
		for _, b := range batches {
			b.Unconditional = []int{1, -1}
		}
		return batches
	}
	var alone [2][][]float32
	for image := range alone {
		alone[image], _, _ = outputs(t, m, halfPolicy(), pair(image), 1)
	}
	pool := tensor.NewPool(2)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	run, err := halfPolicy().NewRun(m, plan, 4)
	if err != nil {
		t.Fatal(err)
	}
	half := len(alone[0][0])
	for p := range all { // the second image is a step behind; it waits at its first step
		behind := max(p-1, 0)
		first, second := pair(0)[p], pair(1)[behind]
		b := &seam.Batch{
			X:             tensor.FromSlice(slices.Concat(first.X.Data, second.X.Data), 4, first.X.Cols),
			T:             append(first.T, second.T...),
			Cond:          append(first.Cond, second.Cond...),
			Unconditional: []int{1, -1, 3, -1},
		}
		g.Reset()
		run.Begin(g, b, []int{p, p, behind, behind})
		out := m.Forward(g, run, b).Flat()
		if !slices.Equal(out[:half], alone[0][p]) {
			t.Errorf("step %d: the first image differs from one alone", p)
		}
		if !slices.Equal(out[half:], alone[1][behind]) {
			t.Errorf("step %d: the second image, at step %d, differs from one alone", p, behind)
		}
	}
}

// TestHalfStepParameters checks that half steps are read as they are written, and what is refused.
func TestHalfStepParameters(t *testing.T) {
	p := reuse.NewTokenCache()
	set(t, p, halfPolicy().String())
	if p.String() != halfPolicy().String() || !slices.Equal(p.Steps.Half, []int{2, 3, 6}) {
		t.Errorf("written as %s, read as %s", halfPolicy(), p)
	}
	m := model(t)
	for _, test := range []struct {
		want   string
		change func(p *reuse.TokenCache)
	}{
		{"half steps: want learned=true", func(p *reuse.TokenCache) { p.Learned, p.Forecast = false, nil }},
		{"a half step at position 9", func(p *reuse.TokenCache) { p.Steps.Half = []int{9} }},
		{"both an I-step and a half step", func(p *reuse.TokenCache) { p.Steps.Half = []int{2, 4} }},
	} {
		t.Run(test.want, func(t *testing.T) {
			p := halfPolicy()
			test.change(p)
			if _, err := p.NewRun(m, plan, 2); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
