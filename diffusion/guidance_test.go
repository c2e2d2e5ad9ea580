package diffusion

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGuidance(t *testing.T) {
	for _, test := range []struct {
		name         string
		guidance     Guidance
		channels, hw int
		cond, uncond []float32
		want         []float32
	}{
		{"first three of four, variance untouched", Guidance{Scale: 4}, 4, 1,
			[]float32{1, 2, 3, 4, 5, 6, 7, 8}, []float32{0, 0, 1, 1, 1, 1, 1, 1}, []float32{4, 8, 9, 4, 5, 6, 7, 8}},
		{"all four, variance untouched", Guidance{Kind: GuideAll, Scale: 4}, 4, 1,
			[]float32{1, 2, 3, 4, 5, 6, 7, 8}, []float32{0, 0, 1, 1, 1, 1, 1, 1}, []float32{4, 8, 9, 13, 5, 6, 7, 8}},
		{"one channel, never beyond epsilon", Guidance{Scale: 2}, 1, 2,
			[]float32{1, 2, 3, 4}, []float32{0, 1, 0, 0}, []float32{2, 3, 3, 4}},
		{"no variance", Guidance{Scale: 2}, 3, 1, []float32{1, 2, 3}, []float32{0, 1, 2}, []float32{2, 3, 4}},
		{"scale 0 is unconditional", Guidance{Kind: GuideAll}, 2, 1, []float32{1, 2}, []float32{5, 6}, []float32{5, 6}},
		{"scale by timestep", Guidance{Scale: 9, ScaleAt: func(timestep float64) float64 { return timestep / 100 }}, 1, 1,
			[]float32{2}, []float32{1}, []float32{6}},
	} {
		for into := range 3 {
			cond, uncond := append([]float32(nil), test.cond...), append([]float32(nil), test.uncond...)
			dst := [][]float32{make([]float32, len(cond)), cond, uncond}[into]
			test.guidance.Apply(dst, cond, uncond, test.channels, test.hw, 500)
			if diff := cmp.Diff(test.want, dst); diff != "" {
				t.Errorf("%s, into %d (-want +got):\n%s", test.name, into, diff)
			}
		}
	}
	for _, test := range []struct {
		guidance Guidance
		want     bool
	}{
		{Guidance{Scale: 1}, false}, {Guidance{Scale: 1.5}, true}, {Guidance{Scale: 0}, true},
		{Guidance{Scale: 1, ScaleAt: func(float64) float64 { return 2 }}, true},
	} {
		if got := test.guidance.Enabled(); got != test.want {
			t.Errorf("guidance of scale %v enabled = %v", test.guidance.Scale, got)
		}
	}
}

// TestPowerCosine holds points that the formula gives exactly, and one computed apart.
func TestPowerCosine(t *testing.T) {
	for _, c := range []struct {
		scale, power float64
		timestep     float64
		want         float64
	}{
		{3.8, 4, 0, 3.8},
		{3.8, 1, 500, 2.4},
		{3.8, 0, 999, 3.8},
		{1, 4, 300, 1},
		{3.8, 4, 250, 1 + 2.8*(1-math.Cos(math.Pi*0.31640625))/2},
		{2, 0.5, 750, 1.5},
	} {
		if got := PowerCosine(c.scale, c.power)(c.timestep); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("scale %g, power %g, timestep %g: %g, want %g", c.scale, c.power, c.timestep, got, c.want)
		}
	}
	last := 0.0
	for timestep := 999.0; timestep >= 0; timestep-- {
		scale := PowerCosine(3.8, 4)(timestep)
		if scale < last || scale < 1 || scale > 3.8 {
			t.Fatalf("timestep %g: scale %g after %g", timestep, scale, last)
		}
		last = scale
	}
}
