package reuse

import (
	"errors"
	"math"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// MagCache skips all blocks while the magnitude of what they add, as calibration saw it, changes
// little ("MagCache: Fast Video Generation with Magnitude-Aware Cache", arXiv 2506.09045). Ratios
// are the mean magnitudes of the residual of all blocks, each relative to the step before. Over
// steps in a row that skip, their product is what the residual's magnitude has become relative to
// the cached one, and its distances from 1 add up to the error. A step skips as long as the error
// is at most Threshold and the skips in a row are at most Skips. The first step, and the first
// Retention of all steps, are full. What is computed depends on the ratios alone, so it is the same
// for every image.
type MagCache struct {
	Threshold float64 `json:"threshold" policy:"threshold" min:"0" help:"error up to which steps are skipped"`
	Skips     int     `json:"skips" policy:"skips,k,max-skip,max-skip-steps" min:"0" help:"max steps in a row that are skipped"`
	Retention float64 `json:"retention" policy:"retention,retention-ratio" min:"0" max:"1" help:"share of the steps, at the start, that are full"`

	// Ratios are one for each step, in sampling order. If their number is another than that of the
	// steps, each step has the nearest; none counts every ratio as 1.
	Ratios []float64 `json:"ratios,omitempty" policy:"ratios,mag-ratios" min:"0" default:"none" help:"magnitude of each step's residual, relative to the step before; calibration writes them"`

	// NullRatios are those of guidance's unconditional half, which then decides by itself. The
	// public code with separate halves, for Wan, computes where the error is equal to Threshold.
	NullRatios []float64 `json:"null_ratios,omitempty" policy:"null-ratios" min:"0" default:"none" help:"ratios of guidance's unconditional half; none: both halves are as ratios say"`
}

// NewMagCache returns a MagCache with its defaults, which are those of diffusers.
func NewMagCache() *MagCache { return &MagCache{Threshold: 0.06, Skips: 3, Retention: 0.2} }

// String returns the policy as Parse takes it.
func (p *MagCache) String() string { return paramText("magcache", p) }

func (p *MagCache) written() []string {
	names := []string{"threshold", "skips", "retention"}
	if len(p.Ratios) > 0 {
		names = append(names, "ratios")
	}
	if len(p.NullRatios) > 0 {
		names = append(names, "null-ratios")
	}
	return names
}

// Set changes one parameter.
func (p *MagCache) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *MagCache) Validate() error {
	if len(p.NullRatios) > 0 && len(p.Ratios) == 0 {
		return errors.New("null-ratios without ratios: want both or ratios alone")
	}
	return checkParams(p)
}

// Kind implements Described.
func (p *MagCache) Kind() Kind { return SkipsSteps }

// Granularity implements Described.
func (p *MagCache) Granularity() Granularity { return ByStep }

// ratioAt returns the ratio of a position, the nearest where there are others than steps.
func ratioAt(ratios []float64, position, steps int) float64 {
	n := len(ratios)
	switch {
	case n == 0:
		return 1
	case n == steps || steps == 1:
		return ratios[position]
	}
	at := float64(position) * float64(n-1) / float64(steps-1)
	return ratios[int(math.RoundToEven(at))]
}

// full returns which positions compute everything, by ratios.
func (p *MagCache) full(ratios []float64, steps int) []bool {
	list := make([]bool, steps)
	retained := max(1, int(p.Retention*float64(steps)))
	separate := len(p.NullRatios) > 0
	ratio, sum, skips := 1.0, 0.0, 0
	for position := range list {
		if position < retained {
			list[position] = true
			continue
		}
		ratio *= ratioAt(ratios, position, steps)
		sum += math.Abs(1 - ratio)
		skips++
		if sum > p.Threshold || separate && sum == p.Threshold || skips > p.Skips {
			list[position] = true
			ratio, sum, skips = 1, 0, 0
		}
	}
	return list
}

// halves returns which positions compute everything, of guidance's conditional half, or of images
// without guidance, and of the unconditional one.
func (p *MagCache) halves(steps int) (list [2][]bool) {
	list[0] = p.full(p.Ratios, steps)
	list[1] = list[0]
	if len(p.NullRatios) > 0 {
		list[1] = p.full(p.NullRatios, steps)
	}
	return list
}

// CacheBytes implements Policy.
func (p *MagCache) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	m := model.Shape()
	return residualBytes(m, 0, m.Blocks, samples), named("magcache", p.Validate())
}

// Shares implements Scheduled.
func (p *MagCache) Shares(_ *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, named("magcache", err)
	}
	full := p.halves(plan.Steps())
	if !plan.Guide().Enabled() {
		full[1] = full[0]
	}
	return sharesBy(plan, func(position int) float64 {
		share := 0.0
		for _, half := range full {
			if half[position] {
				share += 0.5
			}
		}
		return share
	}), nil
}

// NewRun implements Policy.
func (p *MagCache) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("magcache", err)
	}
	m := model.Shape()
	return &magRun{
		tokens: m.Tokens,
		full:   p.halves(plan.Steps()),
		all:    newResidual(m, 0, m.Blocks, samples),
		half:   make([]uint8, samples),
		action: make([]residualAction, samples),
		index:  make([]int32, 0, samples*m.Tokens),
	}, nil
}

// magRun is the state of a MagCache.
type magRun struct {
	g      *tensor.Graph
	tokens int
	full   [2][]bool // of each half and position
	all    *residual // of all blocks
	stats  Cost

	half   []uint8          // of each sample: 1 for an unconditional one
	action []residualAction // of each sample
	index  []int32          // rows of samples that compute
}

// Begin implements Run.
func (r *magRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g = g
	clear(r.half)
	for _, other := range b.Unconditional {
		if other >= 0 {
			r.half[other] = 1
		}
	}
	for s, p := range positions {
		if r.full[r.half[s]][p] {
			r.action[s] = recordResidual
			r.stats.ISteps++
		} else {
			r.action[s] = reuseResidual
			r.stats.PSteps++
		}
	}
	r.index = rowsOfSamples(r.index[:0], len(positions), r.tokens, func(s int) bool {
		return r.action[s] == recordResidual
	})
}

// Sites implements seam.Reuse.
func (r *magRun) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *magRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	r.all.before(r.g, at.Block, x.X, r.action)
	y := computeRows(r.g, x, r.index, f)
	r.all.after(r.g, at.Block, y.X, r.action)
	return y
}

// Reset implements Run: the first step computes everything, so nothing of before is used.
func (r *magRun) Reset() {}

// Stats implements Run.
func (r *magRun) Stats() Cost { return r.stats }
