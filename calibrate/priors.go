package calibrate

import (
	"math"
	"slices"

	"github.com/tokencache/tokencache/reuse"
)

// maxGap is the longest way from one full step of CEM to the next, in steps.
const maxGap = 10

// Priors measures CEM's priors on uncached images: how far the last block's output turns within the
// next few steps. The prior of a number of steps is 1 less the cosine between the output at a
// position and that many steps before, each averaged over the tokens and, under guidance, of both
// halves together; the mean over images.
type Priors struct {
	Steps int
	// Sums are the priors' sums over images, [maxGap-1][Steps]: of 1 step, 2 steps and so on, by
	// position; 0 where there is no position so long before.
	sums   [][]float64
	images int
}

// Policy returns the policy that computes everything and is measured.
func (p *Priors) Policy() reuse.Policy {
	return &features{kind: reuse.HiddenFeature, take: p.add}
}

// NewPriors returns priors that are known: of each number of steps, by position.
func NewPriors(values [][]float64) *Priors {
	return &Priors{Steps: len(values[0]), sums: values, images: 1}
}

// At returns the prior of a number of steps, 1 up to 9, that end at a position.
func (p *Priors) At(steps, position int) float64 {
	return p.sums[steps-1][position] / float64(p.images)
}

// add takes in a batch.
func (p *Priors) add(b *featureBatch) {
	if p.Steps != len(b.values) {
		*p = Priors{Steps: len(b.values)}
		for range maxGap - 1 {
			p.sums = append(p.sums, make([]float64, p.Steps))
		}
	}
	for _, samples := range b.images() {
		p.images++
		means := make([][]float64, p.Steps)
		for step := range means {
			for _, s := range samples {
				means[step] = append(means[step], meanToken(b.of(step, s), b.values[step].Cols)...)
			}
		}
		for gap := 1; gap < maxGap; gap++ {
			for position := gap; position < p.Steps; position++ {
				p.sums[gap-1][position] += 1 - cosine(means[position], means[position-gap])
			}
		}
	}
}

// meanToken returns the mean of the rows of x.
func meanToken(x []float32, width int) []float64 {
	mean := make([]float64, width)
	for i, v := range x {
		mean[i%width] += float64(v)
	}
	for i := range mean {
		mean[i] /= float64(len(x) / width)
	}
	return mean
}

// cosine returns the cosine of the angle between two vectors.
func cosine(a, b []float64) float64 {
	product, aa, bb := 0.0, 0.0, 0.0
	for i, v := range a {
		product += v * b[i]
		aa += v * v
		bb += b[i] * b[i]
	}
	return product / math.Max(math.Sqrt(aa*bb), 1e-12)
}

// Plan returns the positions of count full steps, from the first to the last one, at the least
// cost, and whether there are such. A gap of g steps costs nothing if g is 1 and otherwise the
// prior of g-1 steps, weighted and summed over all positions up to where it ends. Gaps differ from
// the mean one by up to interval and are up to 10 steps long. Of equal ones the shortest gap is
// taken.
func (p *Priors) Plan(count, interval int, w CEMWeight) ([]int, bool) {
	costs := p.costs(w)
	mean := int(math.RoundToEven(float64(p.Steps) / float64(count)))
	low, high := max(1, mean-interval), min(maxGap, mean+interval)
	best, from := make([][]float64, count), make([][]int, count)
	for n := range best {
		best[n] = slices.Repeat([]float64{math.Inf(1)}, p.Steps)
		from[n] = make([]int, p.Steps)
	}
	best[0][0] = 0
	for n := 1; n < count; n++ {
		for t := 1; t < p.Steps; t++ {
			for g := low; g <= min(high, t); g++ {
				if v := best[n-1][t-g] + costs[g][t]; v < best[n][t] {
					best[n][t], from[n][t] = v, t-g
				}
			}
		}
	}
	last := p.Steps - 1
	if math.IsInf(best[count-1][last], 1) {
		return nil, false
	}
	list := []int{last}
	for n := count - 1; n > 0; n-- {
		last = from[n][last]
		list = append(list, last)
	}
	slices.Reverse(list)
	return list, true
}

// costs returns what gaps of each length cost by where they end, infinite where there is no prior.
func (p *Priors) costs(w CEMWeight) [][]float64 {
	costs := make([][]float64, maxGap+1)
	costs[1] = make([]float64, p.Steps)
	for g := 2; g <= maxGap; g++ {
		weight := map[CEMWeight]float64{
			CEMNone:      1,
			CEMLinear:    float64(g - 1),
			CEMQuadratic: float64((g - 1) * (g - 1)),
		}[w]
		sum := 0.0
		for t := range p.Steps {
			sum += p.At(g-1, t)
			cost := weight * sum
			if cost == 0 {
				cost = math.Inf(1)
			}
			costs[g] = append(costs[g], cost)
		}
	}
	return costs
}
