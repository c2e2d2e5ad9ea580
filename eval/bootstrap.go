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

// Resamples that are enough for an interval of a mean, of a Frechet distance and of an inception score.
const (
	MeanResamples    = 1000
	FrechetResamples = 50
	ScoreResamples   = 200
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
	distance, draws, err := ResampledFrechet(samples, reference, resamples, seed)
	if err != nil {
		return Interval{}, err
	}
	i := Around(distance, draws)
	return Interval{Low: max(i.Low, 0), High: i.High}, nil
}

// Around returns the interval of the deviations of draws from their mean, around value.
func Around(value float64, draws []float64) Interval {
	mean := 0.0
	for _, v := range draws {
		mean += v / float64(len(draws))
	}
	p := percentiles(slices.Clone(draws))
	return Interval{Low: value + p.Low - mean, High: value + p.High - mean}
}

// ResampledFrechet returns the Frechet distance between samples, features [n, D], and a reference, and those of resamples. The same seed draws the same numbers of pictures from any n samples, so that sets
// whose i-th pictures belong together, as of two policies from the same noise, can be compared draw by draw.
func ResampledFrechet(samples []float32, reference *Normal, resamples int, seed uint64) (distance float64, draws []float64, err error) {
	d := len(reference.Mean)
	if resamples < 2 {
		return 0, nil, fmt.Errorf("interval of a Frechet distance by %d resamples: want at least 2", resamples)
	}
	all := NewMoments(d)
	if err := all.Add(samples); err != nil {
		return 0, nil, err
	}
	if all.N < 2 {
		return 0, nil, fmt.Errorf("interval of a Frechet distance of %d pictures: want at least 2", all.N)
	}
	root, err := reference.factor()
	if err != nil {
		return 0, nil, err
	}
	if distance, err = root.frechet(all.Normal()); err != nil {
		return 0, nil, err
	}
	draws = make([]float64, resamples)
	rows := make([]float32, 0, momentsBlock*d)
	for i := range draws {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		m := NewMoments(d)
		for m.N < all.N {
			rows = rows[:0]
			for range min(momentsBlock, all.N-m.N) {
				at := r.IntN(all.N)
				rows = append(rows, samples[at*d:(at+1)*d]...)
			}
			if err := m.Add(rows); err != nil {
				return 0, nil, err
			}
		}
		if draws[i], err = root.frechet(m.Normal()); err != nil {
			return 0, nil, err
		}
	}
	return distance, draws, nil
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
