package eval

import (
	"cmp"
	"math"
)

// maxProbabilities is of how many images probabilities are kept, 4 kB each, so that the inception
// score can be resampled image by image. Of more, the scores of whole splits are resampled.
const maxProbabilities = 60_000

// scoreKeep computes the inception scores of splits while probabilities pass by, in the memory of
// those of maxProbabilities images at most.
type scoreKeep struct {
	limit int       // maxProbabilities, if it is 0
	all   bool      // keep the probabilities of however many images
	split []float32 // probabilities of the split that is not full
	kept  []float32 // those of all images, as long as these are few
	n     int       // images
	of    []float64 // scores of whole splits
}

// add adds the probabilities of the next n images; nil is none, of a Classifier.
func (k *scoreKeep) add(p []float32, n int) error {
	if p == nil {
		return nil
	}
	if err := checkProbabilities(p, InceptionClasses, k.n); err != nil {
		return err
	}
	if k.n += n; k.all || k.n <= cmp.Or(k.limit, maxProbabilities) {
		k.kept = append(k.kept, p...)
	} else {
		k.kept = nil
	}
	const whole = InceptionScoreSplit * InceptionClasses
	for len(p) > 0 {
		take := min(len(p), whole-len(k.split))
		k.split, p = append(k.split, p[:take]...), p[take:]
		if len(k.split) == whole {
			k.score()
		}
	}
	return nil
}

// score scores the split.
func (k *scoreKeep) score() {
	k.of = append(k.of, math.Exp(divergence(k.split, InceptionClasses)))
	k.split = k.split[:0]
}

// score takes over what was kept, with the score of a last split that is not full.
func (p *Predictions) score(k *scoreKeep) {
	if k.n == 0 {
		return
	}
	if len(k.split) > 0 {
		k.score()
	}
	p.Probabilities, p.Scores = k.kept, k.of
}

// inceptionScore returns the score of all images with its interval: of few by resampling images, of
// many by resampling splits, of which there are then enough.
func (p *Predictions) inceptionScore() (Estimate, error) {
	if p.Probabilities != nil {
		return BootstrapScore(p.Probabilities, InceptionClasses, InceptionScoreSplit, ScoreResamples, estimateSeed)
	}
	return BootstrapMean(p.Scores, MeanResamples, estimateSeed)
}
