package reuse

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
)

// spectrum returns the discrete Fourier transform of an image, [rows, cols].
func spectrum(image []float32, rows, cols int) []complex128 {
	list := make([]complex128, rows*cols)
	for fy := range rows {
		for fx := range cols {
			for i, v := range image {
				turn := float64(fy*(i/cols))/float64(rows) + float64(fx*(i%cols))/float64(cols)
				list[fy*cols+fx] += complex(float64(v), 0) * cmplx.Exp(complex(0, -2*math.Pi*turn))
			}
		}
	}
	return list
}

// TestLowPass checks that the filter keeps the frequencies within its radius, and no others.
func TestLowPass(t *testing.T) {
	for _, test := range []struct{ rows, cols, radius int }{
		{8, 8, 1}, {8, 8, 0}, {8, 8, 3}, {6, 10, 2}, {7, 5, 2}, {1, 4, 0},
	} {
		t.Run(fmt.Sprintf("%dx%d, radius %d", test.rows, test.cols, test.radius), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			image := make([]float32, test.rows*test.cols)
			for i := range image {
				image[i] = float32(r.NormFloat64())
			}
			low := make([]float32, len(image))
			newLowPass(test.rows, test.cols, test.radius).apply(low, image)
			all, kept := spectrum(image, test.rows, test.cols), spectrum(low, test.rows, test.cols)
			for i := range all {
				fy, fx := i/test.cols, i%test.cols
				fy, fx = min(fy, test.rows-fy), min(fx, test.cols-fx)
				want := all[i]
				if fy*fy+fx*fx > test.radius*test.radius {
					want = 0
				}
				if cmplx.Abs(kept[i]-want) > 1e-5 {
					t.Errorf("frequency (%d, %d): %g, want %g", fy, fx, kept[i], want)
				}
			}
		})
	}
}

// TestLowPassOfFasterCache checks the filter against FasterCache's own code.
func TestLowPassOfFasterCache(t *testing.T) {
	f, err := checkpoint.Open("../testdata/cache-methods-2026/fastercache_cfg.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	split := map[string][]float32{}
	for _, name := range []string{"in", "low", "high"} {
		if split[name], err = f.Float32("split." + name); err != nil {
			t.Fatal(err)
		}
	}
	const side = 8
	filter, low := newLowPass(side, side, side/lowShare), make([]float32, side*side)
	for i := 0; i < len(split["in"]); i += len(low) {
		filter.apply(low, split["in"][i:i+len(low)])
		for j, v := range low {
			high := split["in"][i+j] - v
			if math.Abs(float64(v-split["low"][i+j])) > 1e-5 || math.Abs(float64(high-split["high"][i+j])) > 1e-5 {
				t.Fatalf("element %d: low %g and high %g, want %g and %g",
					i+j, v, high, split["low"][i+j], split["high"][i+j])
			}
		}
	}
}
