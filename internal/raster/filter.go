package raster

import "math"

// Filter is a way to resize images, by Pillow's name.
type Filter int

const (
	Box Filter = iota
	Bicubic
)

// support is half the width of the filter, in pixels of the coarser image.
func (f Filter) support() float64 {
	if f == Box {
		return 0.5
	}
	return 2
}

// weight is the filter's value at distance x. Explicit conversions keep a compiler from fusing
// products into sums, which would round differently from Pillow.
func (f Filter) weight(x float64) float64 {
	if f == Box {
		if x > -0.5 && x <= 0.5 {
			return 1
		}
		return 0
	}
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64((float64(1.5*x)-2.5)*x*x) + 1
	case x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * -0.5
	}
	return 0
}

// taps returns, for each of out pixels, the weights of the in pixels that it is made of.
func (f Filter) taps(in, out int) []tap {
	scale := float64(in) / float64(out)
	widen := max(scale, 1) // when shrinking, the filter covers all pixels that become one
	support := f.support() * widen
	taps := make([]tap, out)
	for i := range taps {
		centre := float64((float64(i) + 0.5) * scale)
		first := max(int(centre-support+0.5), 0)
		end := min(int(centre+support+0.5), in)
		weights, sum := make([]float64, end-first), 0.0
		for k := range weights {
			weights[k] = f.weight((float64(first+k) - centre + 0.5) * (1 / widen))
			sum += weights[k]
		}
		taps[i] = tap{first, fixedPoint(weights, sum)}
	}
	return taps
}

// fixedPoint divides weights by their sum and rounds them, half away from zero, to weightBits
// binary places.
func fixedPoint(weights []float64, sum float64) []int32 {
	fixed := make([]int32, len(weights))
	for k, w := range weights {
		if sum != 0 {
			w /= sum
		}
		fixed[k] = int32(float64(w*(1<<weightBits)) + math.Copysign(0.5, w))
	}
	return fixed
}
