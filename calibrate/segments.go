package calibrate

import (
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
)

// segments is a model of what it costs not to compute steps: the mean squared error of the final
// images, as far as it can be known from uncached trajectories. A step that is forecast errs by
// what the uncached model's noise there differs from its forecast from the noise at the last
// computed steps. The sampler turns that into a deviation, which the remaining steps shrink. The
// squares of all steps' add up.
//
// That leaves out how later steps answer an earlier deviation: only trials in closed loop tell.
type segments struct {
	family family
	order  int         // of a series, up to 2
	gram   [][]float64 // of the predicted noise at all steps, over all images
	share  []float64   // of each step: the final images' mean squared error by a squared error of 1
}

// family is how forecasts are made.
type family int

const (
	learnedForecasts family = iota // by least squares
	taylorForecasts                // by Taylor series, with differences as reuse keeps them
	newtonForecasts                // by Newton's interpolation
)

// segmentTerms is how many computed steps before a forecast the model looks at.
const segmentTerms = 3

// newSegments measures the trajectories of a reference.
func newSegments(ref *reference, family family, order int) *segments {
	steps := ref.plan.Steps()
	s := &segments{family: family, order: min(order, segmentTerms-1)}
	for p := range steps {
		row := make([]float64, steps)
		for q := range p + 1 {
			for _, noise := range ref.noises {
				row[q] += float64(kernel.Dot(noise[p*ref.size:(p+1)*ref.size], noise[q*ref.size:(q+1)*ref.size]))
			}
		}
		s.gram = append(s.gram, row)
	}
	for p := range steps {
		for q := range p {
			s.gram[q][p] = s.gram[p][q]
		}
	}
	variance := varianceOf(ref.finals)
	for p := range steps {
		step, next := ref.step(p)
		kept := variance / (variance + next*next) // of the deviation's square, by an ideal denoiser
		if ref.plan.Sampler == "ddpm" {
			kept *= kept
		}
		s.share = append(s.share, step*step*kept/float64(len(ref.noises)*ref.size))
	}
	return s
}

// varianceOf returns the variance of all images' values.
func varianceOf(images [][]float32) float64 {
	sum, squares, n := 0.0, 0.0, 0.0
	for _, x := range images {
		for _, v := range x {
			sum += float64(v)
			squares += float64(v) * float64(v)
			n++
		}
	}
	return max(squares/n-sum*sum/n/n, 1e-6)
}

// cost is the cost of a step that is forecast from the last computed ones, the newest first.
func (s *segments) cost(keys []int, step int) float64 {
	w := s.weights(keys, step)
	off := s.gram[step][step]
	for i, q := range keys[:len(w)] {
		off -= 2 * w[i] * s.gram[step][q]
		for j, r := range keys[:len(w)] {
			off += w[i] * w[j] * s.gram[q][r]
		}
	}
	return s.share[step] * max(off, 0)
}

// weights returns the weights of a forecast.
func (s *segments) weights(keys []int, step int) []float64 {
	switch s.family {
	case learnedForecasts:
		return s.fitted(keys, step)
	case newtonForecasts:
		keys = keys[:min(len(keys), s.order+1)]
		basis, factors := differences(step, keys)
		return combine(basis, factors[:len(keys)])
	}
	return s.taylor(keys, step)
}

// taylor returns the weights of a Taylor series.
func (s *segments) taylor(keys []int, step int) []float64 {
	w := []float64{1, 0, 0}
	h := float64(step - keys[0])
	if len(keys) > 1 && s.order > 0 {
		gap := float64(keys[0] - keys[1])
		first := [3]float64{1 / gap, -1 / gap, 0} // the first difference, of the keys' values
		for i, d := range first {
			w[i] += h * d
		}
		if len(keys) > 2 && s.order > 1 {
			older := float64(keys[1] - keys[2])
			for i, d := range [3]float64{0, 1 / older, -1 / older} {
				w[i] += h * h / 2 * (first[i] - d) / gap
			}
		}
	}
	return w[:len(keys)]
}

// fitted returns the weights of least squares over the trajectories.
func (s *segments) fitted(keys []int, step int) []float64 {
	const small = 1e-9 // of the diagonal
	for n := len(keys); n > 0; n-- {
		a, b := make([][]float64, n), make([]float64, n)
		for i, q := range keys[:n] {
			for _, r := range keys[:n] {
				a[i] = append(a[i], s.gram[q][r])
			}
			a[i][i] *= 1 + small
			b[i] = s.gram[step][q]
		}
		if w, ok := solveSymmetric(a, b); ok {
			return w
		}
	}
	return nil
}

// planner returns the planner for these costs and a number of computed steps.
func (s *segments) planner(count int) *planner {
	steps := len(s.gram)
	const shortest, times = 15, 3 // of the mean way between computed steps
	reach := max(shortest, times*(steps+count-1)/count)
	return &planner{steps: steps, reach: min(reach, steps), cost: s.cost}
}

// quality is a cost as reference.quality has it, in dB.
func (s *segments) quality(cost float64) float64 { return 10 * math.Log10(4/max(cost, 1e-30)) }
