package calibrate

import (
	"cmp"
	"math"
	"slices"

	"github.com/tokencache/tokencache/internal/kernel"
)

// segments is a model of what it costs not to compute steps: the mean squared error of the final
// images, as far as it can be known from uncached trajectories. A step that is forecast errs by
// what the uncached model's noise there differs from its forecast from the noise at the last
// computed steps, which are off by a small share themselves. The sampler turns that into a
// deviation, of which the remaining steps leave, of each frequency, what survival says. The squares
// of all steps' add up.
//
// That leaves out how later steps answer an earlier deviation: only trials in closed loop tell.
type segments struct {
	family family
	order  int // of a series, up to 2

	// gram is that of the predicted noise at all steps, over all images, for each band of
	// frequencies whose images' variances are alike; share is, of each step and band, the final
	// images' mean squared error by a squared error of 1.
	gram  [][][]float64
	share [][]float64
}

// deviation is the share by which computed steps are off, squared. Without it the planner trusts
// forecasts whose large weights cancel on uncached trajectories, and not on those that they lead
// to.
const deviation = 1e-4

// family is how forecasts are made.
type family int

const (
	learnedForecasts family = iota // by least squares
	taylorForecasts                // by Taylor series, with differences as reuse keeps them
	newtonForecasts                // by Newton's interpolation
)

// segmentTerms is how many computed steps before a forecast the model looks at.
const segmentTerms = 3

// newSegments measures the trajectories of a reference, of latents [C, side, side].
func newSegments(ref *reference, side int, family family, order int) *segments {
	steps := ref.plan.Steps()
	s := &segments{family: family, order: min(order, segmentTerms-1)}
	frequencies := newSurvival(ref.finals, side, ref.plan.Sampler)
	places, bounds := bands(frequencies.variance)
	rows := make([][]float32, steps) // of each step: all images' coefficients, by bands
	for p := range rows {
		rows[p] = make([]float32, 0, ref.size*len(ref.noises))
	}
	coefficients := make([][]float32, len(ref.noises))
	for p := range steps {
		for i, noise := range ref.noises {
			coefficients[i] = slices.Clone(noise[p*ref.size : (p+1)*ref.size])
			frequencies.transform(coefficients[i])
		}
		for _, k := range places {
			for i := range coefficients {
				rows[p] = append(rows[p], coefficients[i][k])
			}
		}
	}
	s.share = make([][]float64, steps)
	for b := range len(bounds) - 1 {
		from, to := bounds[b]*len(ref.noises), bounds[b+1]*len(ref.noises)
		gram := make([][]float64, steps)
		for p := range gram {
			gram[p] = make([]float64, steps)
			for q := range p + 1 {
				gram[p][q] = float64(kernel.Dot(rows[p][from:to], rows[q][from:to]))
				gram[q][p] = gram[p][q]
			}
		}
		s.gram = append(s.gram, gram)
		variance := 0.0
		for _, k := range places[bounds[b]:bounds[b+1]] {
			variance += frequencies.variance[k] / float64(bounds[b+1]-bounds[b])
		}
		for p := range steps {
			step, next := ref.step(p)
			kept := math.Pow(variance/(variance+next*next), 2*frequencies.power)
			s.share[p] = append(s.share[p], step*step*kept/float64(len(ref.noises)*ref.size))
		}
	}
	return s
}

// bands sorts coefficients by variance, and divides them where it has doubled: band b has the
// coefficients places[bounds[b]:bounds[b+1]].
func bands(variance []float64) (places, bounds []int) {
	for k := range variance {
		places = append(places, k)
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(variance[a], variance[b]) })
	for i, k := range places {
		if i == 0 || variance[k] > 2*variance[places[bounds[len(bounds)-1]]] {
			bounds = append(bounds, i)
		}
	}
	return places, append(bounds, len(places))
}

// products returns the weighted products of the noise at steps with itself, at a forecast's step.
func (s *segments) products(steps []int, at int) (m [segmentTerms + 1][segmentTerms + 1]float64) {
	for b, share := range s.share[at] {
		for i, p := range steps {
			for j, q := range steps[:i+1] {
				m[i][j] += share * s.gram[b][p][q]
			}
		}
	}
	for i := range steps {
		for j := range i {
			m[j][i] = m[i][j]
		}
	}
	return m
}

// cost is the cost of a step that is forecast from the last computed ones, the newest first.
func (s *segments) cost(keys []int, step int) float64 {
	m := s.products(append(append(make([]int, 0, segmentTerms+1), keys...), step), step)
	last := len(keys)
	w := s.weights(keys, step, &m)
	off := m[last][last]
	for i := range w {
		off += deviation*w[i]*w[i]*m[i][i] - 2*w[i]*m[last][i]
		for j := range w {
			off += w[i] * w[j] * m[i][j]
		}
	}
	return max(off, 0)
}

// weights returns the weights of a forecast, given the products of the keys and the step.
func (s *segments) weights(keys []int, step int, m *[segmentTerms + 1][segmentTerms + 1]float64) []float64 {
	switch s.family {
	case learnedForecasts:
		return fitted(m, len(keys))
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
func fitted(m *[segmentTerms + 1][segmentTerms + 1]float64, keys int) []float64 {
	for n := keys; n > 0; n-- {
		a := make([][]float64, n)
		for i := range a {
			a[i] = slices.Clone(m[i][:n])
			a[i][i] *= 1 + deviation
		}
		if w, ok := solveSymmetric(a, m[keys][:n]); ok {
			return w
		}
	}
	return nil
}

// planner returns the planner for these costs and a number of computed steps.
func (s *segments) planner(count int) *planner {
	steps := len(s.share)
	const shortest, times = 15, 3 // of the mean way between computed steps
	reach := max(shortest, times*(steps+count-1)/count)
	return &planner{steps: steps, reach: min(reach, steps), cost: s.cost}
}

// quality is a cost as reference.quality has it, in dB.
func (s *segments) quality(cost float64) float64 { return 10 * math.Log10(4/max(cost, 1e-30)) }
