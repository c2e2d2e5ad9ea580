package eval

import (
	"fmt"
	"math"
)

// PSNR returns the peak signal-to-noise ratio in dB of two pictures whose values span dataRange: 10·log10(dataRange²/mean (a-b)²); +Inf of equal ones.
func PSNR(a, b []float32, dataRange float64) float64 {
	sum := 0.0
	for i, v := range a {
		d := float64(v) - float64(b[i])
		sum += d * d
	}
	if sum == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(dataRange*dataRange*float64(len(a))/sum)
}

// SSIM's window is a Gaussian of deviation 1.5, cut at 5 pixels from the middle.
const (
	ssimRadius = 5
	ssimSigma  = 1.5
)

// SSIM returns the structural similarity of two pictures [C, height, width] whose values span dataRange (Wang et al. 2004): Gaussian windows, population variances, the mean over the pixels
// whose windows lie within the picture, then over channels. It fails if the pictures are smaller than a window.
func SSIM(a, b []float32, height, width int, dataRange float64) (float64, error) {
	const side = 2*ssimRadius + 1
	size := height * width
	if height < side || width < side || len(a) != len(b) || len(a) == 0 || len(a)%size != 0 {
		return 0, fmt.Errorf("structural similarity of %d and %d values, %dx%d pixels: want two pictures of %dx%d pixels or more", len(a), len(b), height, width, side, side)
	}
	var window [side]float64
	total := 0.0
	for i := range window {
		d := float64(i - ssimRadius)
		window[i] = math.Exp(-d * d / (2 * ssimSigma * ssimSigma))
		total += window[i]
	}
	for i := range window {
		window[i] /= total
	}
	rows, cols := height-side+1, width-side+1
	across := make([]float64, height*cols)
	// blurred is the mean of f over the window of each pixel that has a whole one.
	blurred := func(f func(i int) float64) []float64 {
		for y := range height {
			for x := range cols {
				sum := 0.0
				for k, w := range window {
					sum += w * f(y*width+x+k)
				}
				across[y*cols+x] = sum
			}
		}
		out := make([]float64, rows*cols)
		for y := range rows {
			for x := range cols {
				for k, w := range window {
					out[y*cols+x] += w * across[(y+k)*cols+x]
				}
			}
		}
		return out
	}
	c1, c2 := math.Pow(0.01*dataRange, 2), math.Pow(0.03*dataRange, 2)
	channels := len(a) / size
	mean := 0.0
	for c := range channels {
		p, q := a[c*size:(c+1)*size], b[c*size:(c+1)*size]
		mp, mq := blurred(func(i int) float64 { return float64(p[i]) }), blurred(func(i int) float64 { return float64(q[i]) })
		pp, qq := blurred(func(i int) float64 { return float64(p[i]) * float64(p[i]) }), blurred(func(i int) float64 { return float64(q[i]) * float64(q[i]) })
		pq := blurred(func(i int) float64 { return float64(p[i]) * float64(q[i]) })
		for i := range mp {
			both := mp[i] * mq[i]
			mean += (2*both + c1) * (2*(pq[i]-both) + c2) / ((mp[i]*mp[i] + mq[i]*mq[i] + c1) * (pp[i] - mp[i]*mp[i] + qq[i] - mq[i]*mq[i] + c2)) / float64(len(mp)*channels)
		}
	}
	return mean, nil
}
