package calibrate

import (
	"context"
	"fmt"
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// MagCache measures the ratios of MagCache (arXiv 2506.09045): it samples images without a policy
// and compares the magnitudes of the residual of all blocks from step to step.
type MagCache struct {
	Threshold float64 // of the policy; with a wanted speed it is found
}

// NewMagCache returns the method with the default parameters.
func NewMagCache() *MagCache { return &MagCache{Threshold: reuse.NewMagCache().Threshold} }

// Name implements Method.
func (c *MagCache) Name() string { return reuse.MagCacheMethod }

func (c *MagCache) check(*maker) error {
	if !(c.Threshold > 0) {
		return fmt.Errorf("threshold %g: want more than 0", c.Threshold)
	}
	return nil
}

func (c *MagCache) run(ctx context.Context, m *maker) (*product, error) {
	measured := &MagnitudeRatios{}
	if err := m.observe(ctx, measured.Policy()); err != nil {
		return nil, err
	}
	p := reuse.NewMagCache()
	p.Threshold, p.Ratios = c.Threshold, measured.Ratios()
	t := m.trained()
	t.Mag = p
	if m.Speed > 0 {
		allow(p, m.Speed, len(p.Ratios))
		if err := m.threshold(ctx, t, c, maxThreshold, func(v float64) { p.Threshold = v }); err != nil {
			return nil, err
		}
	}
	return &product{policy: t}, nil
}

// allow changes what bounds the speed of a MagCache whatever its threshold, so that a speed can be
// met: beyond 2x half as many steps at the start are full, and the skips in a row grow.
func allow(p *reuse.MagCache, speed float64, steps int) {
	if speed > 2 {
		p.Retention /= 2
	}
	const slack = 1.1
	full := func() float64 { return p.Retention + (1-p.Retention)/float64(p.Skips+1) }
	for p.Skips < steps && 1/full() < slack*speed {
		p.Skips++
	}
}

// MagnitudeRatios measures, while everything is computed, how the magnitude of the residual of all
// blocks changes: at each position the mean over tokens of |r_p|/|r_(p-1)|, Euclidean norms over a
// token's channels.
type MagnitudeRatios struct {
	sum   [][2]float64 // of each position and each half of guidance
	count [][2]float64

	g               *tensor.Graph
	blocks, tokens  int
	positions       []int
	half            []int     // of each sample: 1 if it is guidance's unconditional half
	residual        []float32 // of the blocks so far, [rows, D]
	norms, previous []float32 // of each row: at this step and the one before
}

// Policy returns the policy that computes everything and is measured.
func (r *MagnitudeRatios) Policy() reuse.Policy {
	return reuse.Observe(reuse.None{}, reuse.Observer{
		Sites: seam.SitesOf(seam.Block),
		Start: r.start,
		Begin: r.begin,
		Site:  r.site,
	})
}

func (r *MagnitudeRatios) start(model seam.Model, plan reuse.Plan, samples int, _ reuse.Run) error {
	m := model.Shape()
	r.blocks, r.tokens = m.Blocks, m.Tokens
	if len(r.sum) != plan.Steps() {
		r.sum, r.count = make([][2]float64, plan.Steps()), make([][2]float64, plan.Steps())
	}
	rows := samples * m.Tokens
	r.half = make([]int, samples)
	r.residual = make([]float32, rows*m.Width)
	r.norms, r.previous = make([]float32, rows), make([]float32, rows)
	return nil
}

func (r *MagnitudeRatios) begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	clear(r.half)
	clear(r.residual)
	for _, other := range b.Unconditional {
		if other >= 0 {
			r.half[other] = 1
		}
	}
}

// site takes in a block: what it adds, without what the model adds between blocks.
func (r *MagnitudeRatios) site(at seam.Site, in, out *seam.Tokens) {
	width, last := out.X.Cols, at.Block == r.blocks-1
	r.g.EachRow(out.X.Rows, width, func(row int) {
		sum := r.residual[row*width : (row+1)*width]
		kernel.Add(sum, sum, out.X.Row(row))
		kernel.Sub(sum, sum, in.X.Row(row))
		if last {
			r.norms[row] = float32(math.Sqrt(float64(kernel.SumSquares(sum))))
		}
	})
	if last {
		r.compare()
	}
}

// compare takes in the norms of a step.
func (r *MagnitudeRatios) compare() {
	for s, p := range r.positions {
		for row := s * r.tokens; row < (s+1)*r.tokens; row++ {
			if before := r.previous[row]; p > 0 && before > 0 {
				r.sum[p][r.half[s]] += float64(r.norms[row] / before)
				r.count[p][r.half[s]]++
			}
			r.previous[row] = r.norms[row]
		}
	}
}

// Ratios returns the ratio of each position, of both halves of guidance together, rounded to five
// decimals as in the public code. That of the first is 1.
func (r *MagnitudeRatios) Ratios() []float64 {
	return r.list(func(v [2]float64) float64 { return v[0] + v[1] })
}

// Halves returns the ratios of guidance's conditional half and of its unconditional one.
func (r *MagnitudeRatios) Halves() (cond, null []float64) {
	return r.list(func(v [2]float64) float64 { return v[0] }), r.list(func(v [2]float64) float64 { return v[1] })
}

func (r *MagnitudeRatios) list(of func([2]float64) float64) []float64 {
	list := make([]float64, len(r.sum))
	for p := range list {
		list[p] = 1
		if n := of(r.count[p]); n > 0 {
			const decimals = 1e5
			list[p] = math.Round(of(r.sum[p])/n*decimals) / decimals
		}
	}
	return list
}
