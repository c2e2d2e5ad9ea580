package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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
	n := len(p) / classes
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return divergenceOf(p, negentropies(p, classes), all, classes)
}

// negentropies returns the sum of p·log(p) of each picture.
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

// divergenceOf is divergence of the chosen pictures, which may come more than once. negentropies are of all.
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

// ScoreInterval returns the interval of an InceptionScore for other pictures drawn as these were, by resampling. Pictures that come more than once make the classes look less even, so it is that of the deviations around the
// score.
func ScoreInterval(probabilities []float32, classes, split, resamples int, seed uint64) (Interval, error) {
	score, err := InceptionScore(probabilities, classes, split)
	if err != nil {
		return Interval{}, err
	}
	if resamples < 2 {
		return Interval{}, fmt.Errorf("interval of an inception score by %d resamples: want at least 2", resamples)
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
