package eval

import (
	"fmt"
	"math/rand/v2"
)

// BootstrapFrechet returns the Fréchet distance between samples, features [n, D], and a reference,
// with its bootstrap interval. It takes resamples times as long as the distance.
func BootstrapFrechet(samples []float32, reference *Gaussian, resamples int, seed uint64) (Estimate, error) {
	distance, draws, err := ResampledFrechet(samples, reference, resamples, seed)
	if err != nil {
		return Estimate{}, err
	}
	e := Around(distance, draws)
	e.Low = max(e.Low, 0)
	return e, nil
}

// ResampledFrechet returns the Fréchet distance between samples, features [n, D], and a reference,
// and the distances of resamples. Resampling is paired: the same seed picks the same indices of any
// n samples. So sets whose i-th images belong together, such as those of two policies from the same
// noise, can be compared resample by resample, and their ratio has a narrow interval.
func ResampledFrechet(samples []float32, reference *Gaussian, resamples int,
	seed uint64) (distance float64, draws []float64, err error) {
	d := len(reference.Mean)
	if resamples < 2 {
		return 0, nil, fmt.Errorf("interval of a Fréchet distance by %d resamples: want at least 2", resamples)
	}
	all := NewMoments(d)
	if err := all.Add(samples); err != nil {
		return 0, nil, err
	}
	if all.N < 2 {
		return 0, nil, fmt.Errorf("interval of a Fréchet distance of %d images: want at least 2", all.N)
	}
	root, err := reference.factor()
	if err != nil {
		return 0, nil, err
	}
	if distance, err = root.frechet(all.Gaussian()); err != nil {
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
		if draws[i], err = root.frechet(m.Gaussian()); err != nil {
			return 0, nil, err
		}
	}
	return distance, draws, nil
}
