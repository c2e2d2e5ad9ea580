package eval

import (
	"fmt"
	"math"
)

// PSNR returns the peak signal-to-noise ratio of two images in decibels: 10·log10(span² / mean
// squared difference), where span is the difference of the largest and the smallest value that a
// pixel can have: 1 for pixels in [0,1], 2 for [-1,1], 255 for bytes. It is +Inf for equal images.
func PSNR(a, b []float32, span float64) (float64, error) {
	if len(a) != len(b) || len(a) == 0 || !(span > 0) {
		return 0, fmt.Errorf("PSNR of images of %d and %d numbers with a span of %g: "+
			"want the same number, at least 1, and a positive span", len(a), len(b), span)
	}
	sum := 0.0
	for i, v := range a {
		d := float64(v) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(span*span*float64(len(a))/sum), nil
}

const (
	ssimSigma  = 1.5
	ssimRadius = 5 // pixels to either side of the middle of the window
)

// SSIM returns the mean structural similarity of two images, [channels, height, width] (Wang et al.
// 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity"): Gaussian
// windows of 11x11 pixels with a deviation of 1.5, population variances, constants (0.01·span)² and
// (0.03·span)², the mean over the windows that lie in the image and over the channels. span is as
// for PSNR.
func SSIM(a, b []float32, channels, height, width int, span float64) (float64, error) {
	const window = 2*ssimRadius + 1
	switch {
	case channels < 1 || height < window || width < window:
		return 0, fmt.Errorf("SSIM of an image of %d channels, %d x %d: want at least 1 and %d x %d",
			channels, height, width, window, window)
	case len(a)/channels/height != width || len(a) != channels*height*width || len(b) != len(a) || !(span > 0):
		return 0, fmt.Errorf("SSIM of images of %d and %d numbers with a span of %g: "+
			"want %d x %d x %d each and a positive span", len(a), len(b), span, channels, height, width)
	}
	sum, pixels := 0.0, height*width
	for c := range channels {
		similar := ssimMap(a[c*pixels:][:pixels], b[c*pixels:][:pixels], height, width, span)
		for y := ssimRadius; y < height-ssimRadius; y++ {
			for _, v := range similar[y*width+ssimRadius : (y+1)*width-ssimRadius] {
				sum += v
			}
		}
	}
	return sum / float64(channels*(height-2*ssimRadius)*(width-2*ssimRadius)), nil
}

// ssimMap returns the structural similarity around each pixel. Beyond its edges an image goes on as
// its mirror image.
func ssimMap(a, b []float32, height, width int, span float64) []float64 {
	x, y := float64s(a), float64s(b)
	product := func(a, b []float64) []float64 {
		p := make([]float64, len(a))
		for i := range p {
			p[i] = a[i] * b[i]
		}
		return p
	}
	xx, yy, xy := product(x, x), product(y, y), product(x, y)
	for _, plane := range [][]float64{x, y, xx, yy, xy} {
		ssimBlur(plane, height, width)
	}
	c1, c2 := 0.01*span*0.01*span, 0.03*span*0.03*span
	for i, mx := range x {
		my := y[i]
		vx, vy, cov := xx[i]-mx*mx, yy[i]-my*my, xy[i]-mx*my
		xy[i] = (2*mx*my + c1) * (2*cov + c2) / ((mx*mx + my*my + c1) * (vx + vy + c2))
	}
	return xy
}

// ssimBlur takes means over Gaussian windows, in place: along the columns, then along the rows.
func ssimBlur(plane []float64, height, width int) {
	var weights [2*ssimRadius + 1]float64
	sum := 0.0
	for i := range weights {
		d := float64(i - ssimRadius)
		weights[i] = math.Exp(-d * d / (2 * ssimSigma * ssimSigma))
		sum += weights[i]
	}
	for i := range weights {
		weights[i] /= sum
	}
	blur := func(start, step, n int, line []float64) {
		for i := range n {
			line[i] = plane[start+i*step]
		}
		for i := range n {
			v := 0.0
			for k, w := range weights {
				v += w * line[mirror(i+k-ssimRadius, n)]
			}
			plane[start+i*step] = v
		}
	}
	line := make([]float64, max(height, width))
	for x := range width {
		blur(x, width, height, line)
	}
	for y := range height {
		blur(y*width, 1, width, line)
	}
}

// mirror returns the pixel that stands for pixel i of n when those at the edge are repeated: -1 is
// 0, n is n-1. i is less than n away from the image.
func mirror(i, n int) int {
	switch {
	case i < 0:
		return -1 - i
	case i >= n:
		return 2*n - 1 - i
	}
	return i
}

func float64s(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// PSNRPixels is PSNR of images of 8 bits a channel, in dB.
func PSNRPixels(a, b []uint8) (float64, error) {
	if len(a) != len(b) || len(a) == 0 {
		return 0, fmt.Errorf("PSNR of images of %d and %d numbers: want the same number, at least 1", len(a), len(b))
	}
	sum := 0.0
	for i := range a {
		d := (float64(a[i]) - float64(b[i])) / 255
		sum += d * d
	}
	return -10 * math.Log10(sum/float64(len(a))), nil
}
