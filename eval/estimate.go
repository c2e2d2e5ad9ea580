package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Estimate is a value that was measured on a sample of images, with its 95 % interval: where the
// value lies for other samples of the same model.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Overlaps reports whether the intervals of e and o have a point in common.
func (e *Estimate) Overlaps(o *Estimate) bool { return e.Low <= o.High && o.Low <= e.High }

// Around returns value with the interval of the deviations of resamples from their mean, around
// value. It is for measures that resampling biases, because a resample has images more than once.
func Around(value float64, resamples []float64) Estimate {
	mean := 0.0
	for _, v := range resamples {
		mean += v / float64(len(resamples))
	}
	low, high := percentiles(slices.Clone(resamples))
	return Estimate{Value: value, Low: value + low - mean, High: value + high - mean}
}

// percentiles returns the 2.5th and the 97.5th percentile of values, interpolated linearly. It
// sorts values.
func percentiles(values []float64) (low, high float64) {
	slices.Sort(values)
	return percentile(values, 0.025), percentile(values, 0.975)
}

// percentile returns the value that a share of sorted values is below, interpolated linearly.
func percentile(sorted []float64, share float64) float64 {
	whole, part := math.Modf(share * float64(len(sorted)-1))
	low := sorted[int(whole)]
	if high := sorted[min(int(whole)+1, len(sorted)-1)]; part > 0 && high != low {
		return low + part*(high-low)
	}
	return low
}

// Numbers of resamples for the interval of a mean, of a Fréchet distance and of an inception score.
const (
	MeanResamples    = 1000
	FrechetResamples = 50
	ScoreResamples   = 200
)

// BootstrapMean returns the mean of values, one of each image, with the percentile interval of the
// bootstrap (Efron 1979, "Bootstrap Methods: Another Look at the Jackknife"): the 2.5th and the
// 97.5th percentile of the means of resamples, each of as many values drawn with replacement. The
// same seed gives the same interval.
func BootstrapMean(values []float64, resamples int, seed uint64) (Estimate, error) {
	if len(values) == 0 || resamples < 2 {
		return Estimate{}, fmt.Errorf("interval of the mean of %d values by %d resamples: want at least 1 and 2",
			len(values), resamples)
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	means := make([]float64, resamples)
	parallel(resamples, func(i int) {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		for range values {
			means[i] += values[r.IntN(len(values))]
		}
		means[i] /= float64(len(values))
	})
	e := Estimate{Value: sum / float64(len(values))}
	e.Low, e.High = percentiles(means)
	return e, nil
}
