package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/busy"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// ModelReport is the speed of a model's forward pass.
type ModelReport struct {
	PeakGFLOPs    float64 `json:"peak_gflops"` // of float32
	Milliseconds  float64 `json:"ms"`
	GFLOPs        float64 `json:"gflops"`
	PercentOfPeak float64 `json:"percent_of_peak"`

	Arch    string  `json:"arch"`
	Batch   int     `json:"batch"`
	Percent float64 `json:"tokens_percent"` // of the tokens that every block computes
	Threads int     `json:"threads"`
	Level   string  `json:"level"`
	DType   string  `json:"dtype"`

	FullMilliseconds float64 `json:"full_ms,omitempty"` // of all tokens, measured in turn with the others
	Ratio            float64 `json:"ratio,omitempty"`   // ms to full_ms

	// Of a number format other than float32: the same in float32, measured in turn with it.
	F32Milliseconds float64 `json:"f32_ms,omitempty"`
	Speedup         float64 `json:"speedup,omitempty"` // f32_ms to ms

	DiT *AgainstDiT `json:"against_dit,omitempty"` // of all tokens, where asked for

	// Disturbed says why the times may be wrong.
	Disturbed []string `json:"disturbed,omitempty"`
}

// AgainstDiT compares an MDT with a DiT of equal width, depth and patch, both computing all tokens,
// measured in turn.
type AgainstDiT struct {
	Arch         string  `json:"arch"` // the DiT
	Milliseconds float64 `json:"ms"`
	Ratio        float64 `json:"ratio"`       // the MDT's time to the DiT's
	SkipShare    float64 `json:"skip_share"`  // of the MDT's FLOPs that are the linear maps of long skips
	Apart        float64 `json:"ratio_apart"` // the ratio without that share of the MDT's time
}

// ModelOptions says what to measure.
type ModelOptions struct {
	Network Network
	Batch   int
	DType   tensor.DType
	Percent []float64 // of the tokens that every block computes
	Threads int
	Time    time.Duration
	DiT     bool // of an MDT: measure a DiT of equal size too
}

// modelBench measures models that run in turn on one Graph.
type modelBench struct {
	ModelOptions
	graph *tensor.Graph
	all   []*contestant
}

// add adds passes of a model with the given share of the tokens to what is measured.
func (b *modelBench) add(m *model, percent float64) *contestant {
	var r seam.Reuse = seam.Always
	if percent < 100 {
		r = newShare(b.graph, b.Batch, m.Shape(), percent)
	}
	batch := m.samples(b.Batch)
	c := &contestant{run: func() { b.graph.Reset(); seam.Forward(b.graph, m, r, batch) }}
	b.all = append(b.all, c)
	return c
}

// shareBench is what is measured of a share of the tokens.
type shareBench struct {
	percent  float64
	run, f32 *contestant // f32 is nil where run is that
	flops    int64
}

// Model measures a model with synthetic weights, all tokens and each share of them in turn, and in
// float32 too.
func Model(ctx context.Context, o ModelOptions) ([]ModelReport, error) {
	m, err := o.Network.load(o.DType)
	if err != nil {
		return nil, err
	}
	var exact *model
	if o.DType != tensor.F32 {
		if exact, err = o.Network.load(tensor.F32); err != nil {
			return nil, err
		}
	}
	var mdt, equal DiT
	if o.DiT {
		if mdt, equal, err = equalDiT(o.Network); err != nil {
			return nil, err
		}
	}
	pool := tensor.NewPool(o.Threads)
	defer pool.Close()
	b := &modelBench{ModelOptions: o, graph: tensor.NewGraph(pool)}
	b.graph.SetContext(ctx)
	full := b.add(m, 100)
	var shares []shareBench
	for _, percent := range o.Percent {
		s := shareBench{percent: percent, run: full}
		if percent < 100 {
			s.run = b.add(m, percent)
		}
		if exact != nil {
			s.f32 = b.add(exact, percent)
		}
		b.graph.ResetFLOPs()
		s.run.run()
		s.flops = b.graph.FLOPs()
		shares = append(shares, s)
	}
	var dits *contestant
	if o.DiT {
		other, err := equal.load(o.DType)
		if err != nil {
			return nil, err
		}
		dits = b.add(other, 100)
	}
	load := busy.Load()
	peaks := measure(tensor.F32, pool.Workers(), o.Time, b.all...)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var reports []ModelReport
	for _, s := range shares {
		r := b.report(s, full, median.Of(peaks))
		percent := r.PercentOfPeak
		if o.DType != tensor.F32 {
			percent = 0 // the peak is float32's, and fewer bits exceed it
		}
		r.Disturbed = disturbed(load, percent, peaks, s.run.times)
		if o.DiT {
			r.DiT = mdt.against(equal, o.Batch, median.Of(full.times), median.Of(dits.times))
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// report sums up what was measured of a share.
func (b *modelBench) report(s shareBench, full *contestant, peak float64) ModelReport {
	seconds := median.Of(s.run.times)
	r := ModelReport{
		PeakGFLOPs:   peak,
		Milliseconds: 1e3 * seconds,
		GFLOPs:       float64(s.flops) / seconds / 1e9,
		Arch:         b.Network.Name(),
		Batch:        b.Batch,
		Percent:      s.percent,
		Threads:      b.graph.Workers(),
		Level:        kernel.LevelOf(b.DType).String(),
		DType:        b.DType.String(),
	}
	r.PercentOfPeak = 100 * r.GFLOPs / r.PeakGFLOPs
	if s.run != full {
		r.FullMilliseconds = 1e3 * median.Of(full.times)
		r.Ratio = r.Milliseconds / r.FullMilliseconds
	}
	if s.f32 != nil {
		r.F32Milliseconds = 1e3 * median.Of(s.f32.times)
		r.Speedup = r.F32Milliseconds / r.Milliseconds
	}
	return r
}

// equalDiT returns a DiT of the size of an MDT.
func equalDiT(n Network) (mdt, equal DiT, err error) {
	mdt, ok := n.(DiT)
	if !ok || mdt.Arch != dit.ArchMDTv1 && mdt.Arch != dit.ArchMDTv2 {
		return mdt, equal, fmt.Errorf("%s is no MDT: there is no DiT of its size to compare it with", n.Name())
	}
	equal = mdt
	equal.Arch, equal.DecodeLayer = dit.ArchDiT, 0
	return mdt, equal, nil
}

// against compares the times, in seconds, of an MDT and of a DiT of its size.
func (c DiT) against(equal DiT, batch int, mdt, dit float64) *AgainstDiT {
	n := c.Tokens()
	share := float64(c.SkipFLOPs(batch, n)) / float64(c.FLOPs(batch, n))
	return &AgainstDiT{
		Arch:         equal.Name(),
		Milliseconds: 1e3 * dit,
		Ratio:        mdt / dit,
		SkipShare:    share,
		Apart:        mdt * (1 - share) / dit,
	}
}

// share is a Reuse that computes a fixed share of each sample's tokens in every block and leaves
// the others as they are: the cost of gathering and scattering them is part of what is measured.
type share struct {
	g     *tensor.Graph
	index []int32
}

// newShare spreads the share evenly over the image's tokens of each sample, so that at least one is
// computed. A text's tokens are computed, too, as policies do.
func newShare(g *tensor.Graph, samples int, m *seam.Shape, percent float64) *share {
	s := &share{g: g}
	kept := max(1, int(math.Round(float64(m.Image())*percent/100)))
	for sample := range samples {
		first := sample * m.Tokens
		for i := range m.Text {
			s.index = append(s.index, int32(first+i))
		}
		for i := range kept {
			s.index = append(s.index, int32(first+m.Text+i*m.Image()/kept))
		}
	}
	return s
}

// Sites implements seam.Reuse.
func (s *share) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

func (s *share) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	s.g.Scatter(x.X, s.index, f(x.Gather(s.g, s.index)).X)
	return x
}
