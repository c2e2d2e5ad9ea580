package reuse

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"
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
