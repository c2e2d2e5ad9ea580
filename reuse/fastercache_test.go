package reuse_test

import (
	"math"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// computedHalves returns for each step which samples computed all blocks' tokens, checking that no
// sample computes some of them.
func computedHalves(t *testing.T, p reuse.Policy, batches []*seam.Batch) [][]bool {
	t.Helper()
	m := model(t)
	samples := batches[0].Samples()
	var rows [][]int
	outputs(t, m, reuse.Observe(p, reuse.Observer{
		Sites: seam.SitesOf(seam.MLP),
		Begin: func(*tensor.Graph, *seam.Batch, []int) { rows = append(rows, make([]int, samples)) },
		Computed: func(at seam.Site, x, _ *seam.Tokens) {
			for s := range samples {
				if at.Part != seam.MLP {
					break
				}
				rows[len(rows)-1][s] += x.Rows.Start[s+1] - x.Rows.Start[s]
			}
		},
	}), batches, 2)
	var list [][]bool
	for step, counts := range rows {
		computed := make([]bool, samples)
		for s, count := range counts {
			if computed[s] = count > 0; computed[s] && count != m.Shape().Blocks*m.Shape().Tokens {
				t.Errorf("step %d computes %d tokens of sample %d", step, count, s)
			}
		}
		list = append(list, computed)
	}
	return list
}

// TestFasterCacheSkips checks that skipped steps compute the conditional half alone, and other
// steps both.
func TestFasterCacheSkips(t *testing.T) {
	m := model(t)
	got := computedHalves(t, parse(t, "fastercache:start=3,n=3"), guided(m, inputs(m, 2)))
	for step, computed := range got {
		both := step < 2 || step == 2 || step == 5 // steps 3 and 6, counted from 1
		if want := []bool{true, true, both, both}; !slices.Equal(computed, want) {
			t.Errorf("step %d computes samples %v, want %v", step, computed, want)
		}
	}
	for step, computed := range computedHalves(t, parse(t, "fastercache:start=3,n=3"), inputs(m, 1)) {
		if !computed[0] {
			t.Errorf("without guidance step %d is skipped", step)
		}
	}
}

// TestFasterCachePrediction checks the unconditional predictions of skipped steps against their
// definition, low frequencies being those of index 0 and 1 of latents of side 8.
func TestFasterCachePrediction(t *testing.T) {
	m := model(t)
	batches := guided(m, inputs(m, 1))
	uncached, _, _ := outputs(t, m, reuse.None{}, batches, 1)
	got, cost, _ := outputs(t, m, parse(t, "fastercache:start=4,n=8,high=6,weight=1.25"), batches, 1)
	size := len(uncached[0]) / 2
	var low, high []float64
	for p := range batches {
		conditional := uncached[p][:size]
		if !slices.Equal(got[p][:size], conditional) {
			t.Fatalf("step %d: another conditional prediction", p)
		}
		if p < 3 || p == 7 {
			if !slices.Equal(got[p], uncached[p]) {
				t.Fatalf("step %d: not computed", p)
			}
			low, high = frequencies(uncached[p], 8)
			continue
		}
		weighted := low
		if p >= 5 {
			weighted = high
		}
		for i := range weighted {
			weighted[i] *= 1.25
		}
		for i, v := range conditional {
			want := float64(v) + low[i] + high[i]
			if math.Abs(float64(got[p][size+i])-want) > 1e-5 {
				t.Fatalf("step %d, element %d: %g, want %g", p, i, got[p][size+i], want)
			}
		}
	}
	if cost.HalfSteps != 2*4 || cost.PSteps != 2*4 || cost.ISteps != 2*4 {
		t.Errorf("%d I-steps, %d P-steps, %d half steps, want 8 of each", cost.ISteps, cost.PSteps, cost.HalfSteps)
	}
}

// frequencies splits the difference of the unconditional half of a prediction, the second, and the
// conditional one, channel by channel: the low ones are the mean and the four waves of one cycle.
func frequencies(both []float32, side int) (low, high []float64) {
	size := len(both) / 2
	low, high = make([]float64, size), make([]float64, size)
	for i := range high {
		high[i] = float64(both[size+i] - both[i])
	}
	n := side * side
	for from := 0; from < size; from += n {
		for i := range n {
			for j, d := range high[from : from+n] {
				dy, dx := 2*math.Pi*float64(i/side-j/side)/float64(side), 2*math.Pi*float64(i%side-j%side)/float64(side)
				low[from+i] += d * (1 + 2*math.Cos(dy) + 2*math.Cos(dx)) / float64(n)
			}
		}
	}
	for i := range high {
		high[i] -= low[i]
	}
	return low, high
}

// TestGuidedImagesAreAlone checks that policies that decide by both halves of an image, or derive
// one from the other, give each image of a batch what it gets alone.
func TestGuidedImagesAreAlone(t *testing.T) {
	m := model(t)
	for _, text := range []string{
		"fastercache:start=3,n=3,high=7",
		"easycache:threshold=0.8,warmup=2", "easycache:threshold=0.8,warmup=2,halves=conditional",
		"speca:order=1,min=1,max=4,metric=l1,threshold=0.3,decay=1,reject=true",
		"speca:order=2,min=1,max=4,metric=l2,threshold=0.6,decay=1",
		"dbcache:front=1,order=1,threshold=1.5,halves=joint",
	} {
		t.Run(text, func(t *testing.T) {
			all, _, _ := outputs(t, m, parse(t, text), guided(m, inputs(m, 3)), 2)
			for s := range 3 {
				alone, _, _ := outputs(t, m, parse(t, text), guided(m, pick(inputs(m, 3), s)), 1)
				for p := range all {
					size := len(alone[p]) / 2
					image := slices.Concat(all[p][s*size:(s+1)*size], all[p][(s+3)*size:(s+4)*size])
					if !slices.Equal(image, alone[p]) {
						t.Fatalf("image %d, step %d differs from that alone", s, p)
					}
				}
			}
		})
	}
}
