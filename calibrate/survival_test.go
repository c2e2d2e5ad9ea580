package calibrate

import (
	"math"
	"math/rand/v2"
	"testing"
)

// normalImages returns images [channels, side, side] of independent normal cosine coefficients with
// the variances given, the mean apart.
func normalImages(s *survival, n int, variance func(channel, frequency int) float64) [][]float32 {
	random := rand.New(rand.NewPCG(3, 4))
	side := s.side
	images := make([][]float32, n)
	for i := range images {
		images[i] = make([]float32, len(s.variance))
		for k := range s.variance {
			channel, v, u := k/(side*side), k/side%side, k%side
			coefficient := math.Sqrt(variance(channel, int(math.Round(math.Hypot(float64(u), float64(v)))))) * random.NormFloat64()
			if k == 0 {
				coefficient += 5
			}
			for y := range side {
				for x := range side {
					images[i][channel*side*side+y*side+x] += float32(coefficient * s.cosines[v*side+y] * s.cosines[u*side+x])
				}
			}
		}
	}
	return images
}

// TestSurvivalSpectrum checks that the variances of coefficients are found, of each channel and
// frequency, and that the images' mean is none of it.
func TestSurvivalSpectrum(t *testing.T) {
	const side, channels = 8, 2
	blank := newSurvival([][]float32{make([]float32, channels*side*side)}, side, "ddim")
	variance := func(channel, frequency int) float64 { return float64(1+channel) / float64(1+frequency*frequency) }
	s := newSurvival(normalImages(blank, 400, variance), side, "ddim")
	for i, got := range s.variance {
		want := variance(i/(side*side), int(math.Round(math.Hypot(float64(i/side%side), float64(i%side)))))
		if math.Abs(got/want-1) > 0.25 {
			t.Errorf("coefficient %d: variance %g, want %g", i, got, want)
		}
	}
}

// TestSurvivalTransform checks that the transform keeps lengths, and that a constant image has one
// coefficient.
func TestSurvivalTransform(t *testing.T) {
	const side = 6
	s := newSurvival([][]float32{make([]float32, 2*side*side)}, side, "ddim")
	x := make([]float32, 2*side*side)
	random := rand.New(rand.NewPCG(1, 1))
	before := 0.0
	for i := range x {
		x[i] = float32(random.NormFloat64())
		before += float64(x[i]) * float64(x[i])
	}
	s.transform(x)
	after := 0.0
	for _, v := range x {
		after += float64(v) * float64(v)
	}
	if math.Abs(after/before-1) > 1e-5 {
		t.Errorf("square length %g became %g", before, after)
	}
	for i := range x {
		x[i] = 0.5
	}
	s.transform(x)
	for i, v := range x {
		want := 0.0
		if i%(side*side) == 0 {
			want = 0.5 * side
		}
		if math.Abs(float64(v)-want) > 1e-5 {
			t.Errorf("coefficient %d of a constant image: %g, want %g", i, v, want)
		}
	}
}

// TestSurvivalFactors checks that what weigh says of a deviation is what the samplers leave of it,
// step by step, with the ideal model of a normal coefficient.
func TestSurvivalFactors(t *testing.T) {
	const variance, from, steps = 0.3, 5.0, 4000
	for _, sampler := range []string{"ddpm", "ddim"} {
		s := newSurvival([][]float32{{float32(math.Sqrt(variance))}}, 1, sampler)
		y := 1.0
		for i := range steps {
			sigma, next := from*(1-float64(i)/steps), from*(1-float64(i+1)/steps)
			eps := y * sigma / (variance + sigma*sigma) // (y - x0)/sigma
			if sampler == "ddpm" {
				y -= (sigma*sigma - next*next) / sigma * eps
			} else {
				y += (next - sigma) * eps
			}
		}
		x := []float32{1}
		s.weigh(x, from)
		if math.Abs(y/float64(x[0])-1) > 5e-3 {
			t.Errorf("%s: %g is left of a deviation of 1, the weight is %g", sampler, y, x[0])
		}
	}
}
