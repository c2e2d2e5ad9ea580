package raster

import (
	"fmt"
	"math"
)

// Filter is a way to scale pictures, by Pillow's name.
type Filter int

const (
	Nearest Filter = iota
	Box
	Bilinear
	Hamming
	Bicubic
	Lanczos
)

func (f Filter) String() string {
	if f < Nearest || f > Lanczos {
		return fmt.Sprintf("Filter(%d)", int(f))
	}
	return [...]string{"nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"}[f]
}

// support is half the width of the filter, in pixels of the coarser picture.
func (f Filter) support() float64 {
	return map[Filter]float64{Box: 0.5, Bilinear: 1, Hamming: 1, Bicubic: 2, Lanczos: 3}[f]
}

// weight is the filter's value at distance x. Explicit conversions keep a compiler from fusing products into sums, which
// would round otherwise than Pillow.
func (f Filter) weight(x float64) float64 {
	if f == Box {
		if x > -0.5 && x <= 0.5 {
			return 1
		}
		return 0
	}
	if f == Lanczos {
		if x >= -3 && x < 3 {
			return sinc(x) * sinc(x/3)
		}
		return 0
	}
	x = math.Abs(x)
	switch {
	case f == Bilinear && x < 1:
		return 1 - x
	case f == Hamming && x == 0:
		return 1
	case f == Hamming && x < 1:
		x *= math.Pi
		const a, b = float32(0.54), float32(0.46) // Pillow has them as float
		return math.Sin(x) / x * (float64(a) + float64(float64(b)*math.Cos(x)))
	case f == Bicubic && x < 1:
		return float64((float64(1.5*x)-2.5)*x*x) + 1
	case f == Bicubic && x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * -0.5
	}
	return 0
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}

// taps returns what makes out pixels of in.
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

// fixedPoint divides weights by their sum and rounds them, half away from zero, to weightBits binary places.
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
