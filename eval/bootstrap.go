package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Interval is where a number lies with a confidence of 95 %.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Resamples that are enough for an interval of a mean and of a Frechet distance.
const (
	MeanResamples    = 1000
	FrechetResamples = 50
)

// BootstrapMean returns the interval of the mean of values, which stand for pictures drawn at random: the 2.5th and the 97.5th percentile of the means of resamples, each of as many values drawn
// with replacement (Efron 1979, "Bootstrap Methods: Another Look at the Jackknife"). The same seed gives the same interval.
func BootstrapMean(values []float64, resamples int, seed uint64) (Interval, error) {
	if len(values) == 0 || resamples < 2 {
		return Interval{}, fmt.Errorf("interval of the mean of %d values by %d resamples: want at least 1 and 2", len(values), resamples)
	}
	means := make([]float64, resamples)
	parallel(resamples, func(i int) {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		for range values {
			means[i] += values[r.IntN(len(values))]
		}
		means[i] /= float64(len(values))
	})
	return percentiles(means), nil
}

// BootstrapFrechet returns the interval of the Frechet distance between samples, features [n, D], and a reference, for other samples drawn as these were. Pictures that are drawn more than once
// make each resample look farther away than the samples are, so the percentiles are those of the resamples' deviations from their mean, around the distance itself.
// The cost is that of the distance, resamples times over.
func BootstrapFrechet(samples []float32, reference *Normal, resamples int, seed uint64) (Interval, error) {
	d := len(reference.Mean)
	if resamples < 2 {
		return Interval{}, fmt.Errorf("interval of a Frechet distance by %d resamples: want at least 2", resamples)
	}
	all := NewMoments(d)
	if err := all.Add(samples); err != nil {
		return Interval{}, err
	}
	if all.N < 2 {
		return Interval{}, fmt.Errorf("interval of a Frechet distance of %d pictures: want at least 2", all.N)
	}
	root, err := reference.factor()
	if err != nil {
		return Interval{}, err
	}
	middle, err := root.frechet(all.Normal())
	if err != nil {
		return Interval{}, err
	}
	distances := make([]float64, resamples)
	rows := make([]float32, 0, momentsBlock*d)
	mean := 0.0
	for i := range distances {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		m := NewMoments(d)
		for m.N < all.N {
			rows = rows[:0]
			for range min(momentsBlock, all.N-m.N) {
				at := r.IntN(all.N)
				rows = append(rows, samples[at*d:(at+1)*d]...)
			}
			if err := m.Add(rows); err != nil {
				return Interval{}, err
			}
		}
		if distances[i], err = root.frechet(m.Normal()); err != nil {
			return Interval{}, err
		}
		mean += distances[i] / float64(resamples)
	}
	p := percentiles(distances)
	return Interval{Low: max(middle+p.Low-mean, 0), High: middle + p.High - mean}, nil
}

// percentiles returns the 2.5th and the 97.5th percentile of values, between two of them where none is there. It sorts values.
func percentiles(values []float64) Interval {
	slices.Sort(values)
	at := func(share float64) float64 {
		whole, part := math.Modf(share * float64(len(values)-1))
		low := values[int(whole)]
		if high := values[min(int(whole)+1, len(values)-1)]; part > 0 && high != low {
			return low + part*(high-low)
		}
		return low
	}
	return Interval{Low: at(0.025), High: at(0.975)}
}
