package calibrate

import (
	"fmt"
	"math"
)

// Weighting is how the learner's least squares weight the deviations of a step's result from the
// uncached image's.
type Weighting string

const (
	// Pixels weights all pixels and all frequencies alike. It is what "" means.
	Pixels Weighting = "pixels"
	// Survival weights frequencies by the share of a deviation that the remaining steps preserve:
	// they remove high frequencies, which are noise at most steps, and leave low ones.
	Survival Weighting = "survival"
)

// survival weights each cosine coefficient of a deviation by the share that the remaining steps
// would preserve under an ideal denoiser for images with independent Gaussian coefficients with the
// variances S of the uncached images. That denoiser takes a part S/(S+σ²) of y = x/sqrt(alpha-bar)
// for the image. Through all steps from noise σ to none, a deviation of y then shrinks to
//
//	S/(S+σ²)          DDPM, however the steps are placed
//	sqrt(S/(S+σ²))    DDIM and DPM-Solver++, as the steps become small
type survival struct {
	side     int
	cosines  []float64 // [side, side]: the orthonormal cosine transform's basis
	variance []float64 // [C, side, side]: of the images' coefficients
	power    float64
	scratch  []float64
}

// newSurvival estimates the variances from images [C, side, side]. Coefficients of about the same
// frequency share theirs, because there are few images.
func newSurvival(images [][]float32, side int, sampler string) *survival {
	s := &survival{side: side, cosines: make([]float64, side*side), power: 0.5, scratch: make([]float64, side*side)}
	if sampler == "ddpm" {
		s.power = 1
	}
	for u := range side {
		norm := math.Sqrt(2 / float64(side))
		if u == 0 {
			norm = math.Sqrt(1 / float64(side))
		}
		for x := range side {
			s.cosines[u*side+x] = norm * math.Cos(math.Pi*float64(u)*(float64(x)+0.5)/float64(side))
		}
	}
	size := len(images[0])
	mean, square := make([]float64, size), make([]float64, size)
	for _, image := range images {
		x := append([]float32(nil), image...)
		s.transform(x)
		for i, v := range x {
			mean[i] += float64(v) / float64(len(images))
			square[i] += float64(v) * float64(v) / float64(len(images))
		}
	}
	rings := 2 * side // of each channel
	sum, count := make([]float64, size/(side*side)*rings), make([]float64, size/(side*side)*rings)
	ring := func(i int) int {
		frequency := math.Hypot(float64(i/side%side), float64(i%side))
		return i/(side*side)*rings + int(math.Round(frequency))
	}
	for i := range mean {
		variance := square[i]
		if n := float64(len(images)); n > 1 {
			variance = (variance - mean[i]*mean[i]) * n / (n - 1)
		}
		sum[ring(i)] += variance
		count[ring(i)]++
	}
	s.variance = make([]float64, size)
	for i := range s.variance {
		s.variance[i] = sum[ring(i)]/count[ring(i)] + 1e-12
	}
	return s
}

// weigh replaces deviations x [C, side, side] at noise sigma, relative to the signal, by their
// cosine coefficients times the share that survives.
func (s *survival) weigh(x []float32, sigma float64) {
	s.transform(x)
	for i, v := range s.variance {
		x[i] *= float32(math.Pow(v/(v+sigma*sigma), s.power))
	}
}

// transform replaces x [C, side, side] by its orthonormal cosine coefficients.
func (s *survival) transform(x []float32) {
	n := s.side
	for ; len(x) > 0; x = x[n*n:] {
		for y := range n { // the rows, into columns of scratch
			for u := range n {
				s.scratch[u*n+y] = dot(s.cosines[u*n:(u+1)*n], x[y*n:(y+1)*n])
			}
		}
		for u := range n {
			for v := range n {
				x[v*n+u] = float32(dot(s.cosines[v*n:(v+1)*n], s.scratch[u*n:(u+1)*n]))
			}
		}
	}
}

func dot[T float32 | float64](a []float64, b []T) (sum float64) {
	for i, v := range a {
		sum += v * float64(b[i])
	}
	return sum
}

// check reports a weighting that does not exist.
func (w Weighting) check() error {
	if w != "" && w != Pixels && w != Survival {
		return fmt.Errorf("unknown weighting %q: want %s or %s", w, Pixels, Survival)
	}
	return nil
}
