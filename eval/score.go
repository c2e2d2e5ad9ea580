package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// InceptionScoreSplit is the number of images that the ADM evaluator computes a score of at a time.
const InceptionScoreSplit = 5000

// InceptionScore returns the score (Salimans et al. 2016, arXiv 1606.03498) of probabilities
// [images, classes]: the mean over parts of split images, of which the last may be shorter, of
// exp(the mean divergence of an image's probabilities from the part's). A probability of 0 adds
// nothing.
func InceptionScore(probabilities []float32, classes, split int) (float64, error) {
	if err := checkFeatures(probabilities, classes, 0); err != nil {
		return 0, fmt.Errorf("inception score: %w", err)
	}
	if len(probabilities) == 0 || split < 1 {
		return 0, fmt.Errorf("inception score of %d probabilities in parts of %d images: want at least one of each",
			len(probabilities), split)
	}
	if err := checkProbabilities(probabilities, classes, 0); err != nil {
		return 0, err
	}
	sum, parts := 0.0, 0
	for at := 0; at < len(probabilities); at += split * classes {
		sum += math.Exp(divergence(probabilities[at:min(at+split*classes, len(probabilities))], classes))
		parts++
	}
	return sum / float64(parts), nil
}

// checkProbabilities reports what is no probability. first is the index of the first image, for the
// message.
func checkProbabilities(probabilities []float32, classes, first int) error {
	for i, p := range probabilities {
		if !(p >= 0 && p <= 1+1e-4) {
			return fmt.Errorf("inception score: class %d of image %d has the probability %g",
				i%classes, first+i/classes, p)
		}
	}
	return nil
}

// divergence returns the mean Kullback-Leibler divergence of the images' probabilities from their
// mean.
func divergence(p []float32, classes int) float64 {
	n := len(p) / classes
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return divergenceOf(p, negentropies(p, classes), all, classes)
}

// negentropies returns the sum of p·log(p) of each image.
func negentropies(p []float32, classes int) []float64 {
	sums := make([]float64, len(p)/classes)
	parallel(len(sums), func(i int) {
		for _, v := range p[i*classes:][:classes] {
			if v > 0 {
				sums[i] += float64(v) * math.Log(float64(v))
			}
		}
	})
	return sums
}

// divergenceOf is divergence of the chosen images, which may repeat. negentropies are of all
// images.
func divergenceOf(p []float32, negentropies []float64, chosen []int, classes int) float64 {
	n := float64(len(chosen))
	mean := make([]float64, classes)
	sum := 0.0
	for _, i := range chosen {
		sum += negentropies[i]
		for c, v := range p[i*classes:][:classes] {
			mean[c] += float64(v)
		}
	}
	for _, m := range mean {
		if m > 0 {
			sum -= m * math.Log(m/n)
		}
	}
	return sum / n
}

// BootstrapScore returns the InceptionScore with its bootstrap interval: that of the deviations of
// resamples around the score (see Around), because images that repeat make the classes less even.
func BootstrapScore(probabilities []float32, classes, split, resamples int, seed uint64) (Estimate, error) {
	score, err := InceptionScore(probabilities, classes, split)
	if err != nil {
		return Estimate{}, err
	}
	if resamples < 2 {
		return Estimate{}, fmt.Errorf("interval of an inception score by %d resamples: want at least 2", resamples)
	}
	n := len(probabilities) / classes
	of := negentropies(probabilities, classes)
	draws := make([]float64, resamples)
	parallel(resamples, func(i int) {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		chosen := make([]int, n)
		for j := range chosen {
			chosen[j] = r.IntN(n)
		}
		parts := 0
		for part := range slices.Chunk(chosen, split) {
			draws[i] += math.Exp(divergenceOf(probabilities, of, part, classes))
			parts++
		}
		draws[i] /= float64(parts)
	})
	return Around(score, draws), nil
}

// Softmax sets dst to the probabilities of logits [images, classes]; they may be the same slice.
func Softmax(dst, logits []float32, classes int) {
	for at := 0; at+classes <= len(logits); at += classes {
		row := logits[at:][:classes]
		top := float64(row[argmax(row)])
		sum := 0.0
		for _, v := range row {
			sum += math.Exp(float64(v) - top)
		}
		for i, v := range row {
			dst[at+i] = float32(math.Exp(float64(v)-top) / sum)
		}
	}
}
