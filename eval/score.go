package eval

import (
	"fmt"
	"math"
)

// InceptionScoreSplit is how many pictures the ADM evaluator takes a score of at a time.
const InceptionScoreSplit = 5000

// InceptionScore returns the score (Salimans et al. 2016, arXiv 1606.03498) of probabilities, [pictures, classes]: the mean over parts of split pictures, of which the
// last may be shorter, of exp(the mean divergence of a picture's probabilities from the part's). A probability of 0 adds nothing.
func InceptionScore(probabilities []float32, classes, split int) (float64, error) {
	if err := checkFeatures(probabilities, classes, 0); err != nil {
		return 0, fmt.Errorf("inception score: %w", err)
	}
	if len(probabilities) == 0 || split < 1 {
		return 0, fmt.Errorf("inception score of %d probabilities in parts of %d pictures: want at least one of each", len(probabilities), split)
	}
	for i, p := range probabilities {
		if p < 0 || p > 1+1e-4 {
			return 0, fmt.Errorf("inception score: class %d of picture %d has the probability %g", i%classes, i/classes, p)
		}
	}
	sum, parts := 0.0, 0
	for at := 0; at < len(probabilities); at += split * classes {
		sum += math.Exp(divergence(probabilities[at:min(at+split*classes, len(probabilities))], classes))
		parts++
	}
	return sum / float64(parts), nil
}

// divergence returns the mean Kullback-Leibler divergence of the pictures' probabilities from their mean.
func divergence(p []float32, classes int) float64 {
	n := float64(len(p) / classes)
	mean := make([]float64, classes)
	for i, v := range p {
		mean[i%classes] += float64(v) / n
	}
	sum := 0.0
	for i, v := range p {
		if v > 0 {
			sum += float64(v) * (math.Log(float64(v)) - math.Log(mean[i%classes]))
		}
	}
	return sum / n
}

// Softmax sets dst to the probabilities that have the given logits, one picture's at a time.
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
