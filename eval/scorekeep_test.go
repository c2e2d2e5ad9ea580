package eval

import (
	"math/rand/v2"
	"testing"
)

// TestScoreKeep checks that scores of splits whose probabilities pass by in pieces have the mean
// that InceptionScore computes of all at once, and that of many images no probabilities are kept.
func TestScoreKeep(t *testing.T) {
	const images = InceptionScoreSplit + 700
	random := rand.New(rand.NewPCG(1, 2))
	all := make([]float32, images*InceptionClasses)
	for at := 0; at < len(all); at += InceptionClasses {
		row, rest := all[at:][:InceptionClasses], float32(1)
		for range 4 { // a few likely classes
			p := rest * random.Float32()
			row[random.IntN(InceptionClasses)] += p
			rest -= p
		}
		row[0] += rest
	}
	want, err := InceptionScore(all, InceptionClasses, InceptionScoreSplit)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		keep scoreKeep
		kept int // images
	}{
		{"few", scoreKeep{limit: images}, images},
		{"many", scoreKeep{limit: images - 1}, 0},
		{"a part", scoreKeep{limit: 1, all: true}, images},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := c.keep
			for at := 0; at < images; {
				n := min(1+random.IntN(900), images-at)
				if err := k.add(all[at*InceptionClasses:][:n*InceptionClasses], n); err != nil {
					t.Fatal(err)
				}
				at += n
			}
			var p Predictions
			p.score(&k)
			if len(p.Probabilities) != c.kept*InceptionClasses || len(p.Scores) != 2 {
				t.Errorf("%d probabilities and %d scores, want those of %d images and 2",
					len(p.Probabilities), len(p.Scores), c.kept)
			}
			if got := (p.Scores[0] + p.Scores[1]) / 2; got != want {
				t.Errorf("score %g, want %g", got, want)
			}
			if cap(k.split) > 2*InceptionScoreSplit*InceptionClasses {
				t.Errorf("a split takes %d numbers", cap(k.split))
			}
			if e, err := p.inceptionScore(); c.kept == 0 && (err != nil || e.Value != want || !(e.Low < e.High)) {
				t.Errorf("of many: %+v, error %v, want %g", e, err, want)
			}
		})
	}
	var k scoreKeep
	if err := k.add([]float32{-1}, 1); err == nil {
		t.Error("a negative probability: no error")
	}
}
