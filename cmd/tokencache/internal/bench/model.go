package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// ModelReport is the speed of a model's forward pass.
type ModelReport struct {
	PeakGFLOPs    float64 `json:"peak_gflops"`
	Milliseconds  float64 `json:"ms"`
	GFLOPs        float64 `json:"gflops"`
	PercentOfPeak float64 `json:"percent_of_peak"`

	Arch    string  `json:"arch"`
	Batch   int     `json:"batch"`
	Percent float64 `json:"tokens_percent"` // of the tokens that every block computes
	Threads int     `json:"threads"`
	Level   string  `json:"level"`

	FullMilliseconds float64 `json:"full_ms,omitempty"` // of all tokens, measured in turn with the others
	Ratio            float64 `json:"ratio,omitempty"`   // ms to full_ms

	DiT *AgainstDiT `json:"against_dit,omitempty"` // of all tokens, where asked for
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
	Config  dit.Config
	Batch   int
	Percent []float64 // of the tokens that every block computes
	Threads int
	Time    time.Duration
	DiT     bool // measure a DiT of equal size too
}

// Model measures a model with synthetic weights, all tokens and each share of them in turn.
func Model(ctx context.Context, o ModelOptions) ([]ModelReport, error) {
	m, err := dit.New(o.Config, source{}, false)
	if err != nil {
		return nil, err
	}
	var equal *dit.Model
	if o.DiT {
		if equal, err = equalDiT(o.Config); err != nil {
			return nil, err
		}
	}
	pool := tensor.NewPool(o.Threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	g.SetContext(ctx)
	b := samples(o.Config, o.Batch)

	full := &contestant{run: func() { g.Reset(); m.Forward(g, seam.Always, b) }}
	all := []*contestant{full}
	flops := make([]int64, len(o.Percent))
	for i, percent := range o.Percent {
		r := newShare(g, o.Batch, o.Config.Tokens(), percent)
		c := full
		if percent < 100 {
			c = &contestant{run: func() { g.Reset(); m.Forward(g, r, b) }}
			all = append(all, c)
		}
		g.ResetFLOPs()
		c.run()
		flops[i] = g.FLOPs()
	}
	dits := &contestant{run: func() { g.Reset(); equal.Forward(g, seam.Always, b) }}
	if o.DiT {
		dits.run() // warms up
		all = append(all, dits)
	}
	peaks := measure(tensor.F32, pool.Workers(), o.Time, all...)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var reports []ModelReport
	next := 1
	for i, percent := range o.Percent {
		c := full
		if percent < 100 {
			c = all[next]
			next++
		}
		seconds := median.Of(c.times)
		r := ModelReport{
			PeakGFLOPs: median.Of(peaks), Milliseconds: 1e3 * seconds, GFLOPs: float64(flops[i]) / seconds / 1e9,
			Arch: o.Config.Name(), Batch: o.Batch, Percent: percent, Threads: pool.Workers(), Level: kernel.ActiveLevel().String(),
		}
		r.PercentOfPeak = 100 * r.GFLOPs / r.PeakGFLOPs
		if c != full {
			r.FullMilliseconds = 1e3 * median.Of(full.times)
			r.Ratio = r.Milliseconds / r.FullMilliseconds
		}
		if o.DiT {
			r.DiT = against(o, equal.Name(), median.Of(full.times), median.Of(dits.times))
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// equalDiT returns a DiT of the size of an MDT.
func equalDiT(c dit.Config) (*dit.Model, error) {
	if c.Arch == dit.ArchDiT {
		return nil, fmt.Errorf("%s is a DiT: there is no other of its size to compare it with", c.Name())
	}
	c.Arch, c.DecodeLayer = dit.ArchDiT, 0
	return dit.New(c, source{}, false)
}

// against compares the times, in seconds, of an MDT and of the named DiT.
func against(o ModelOptions, name string, mdt, dit float64) *AgainstDiT {
	n := o.Config.Tokens()
	share := float64(o.Config.SkipFLOPs(o.Batch, n)) / float64(o.Config.FLOPs(o.Batch, n))
	return &AgainstDiT{Arch: name, Milliseconds: 1e3 * dit, Ratio: mdt / dit, SkipShare: share, Apart: mdt * (1 - share) / dit}
}

// share is a Reuse that computes a fixed share of each sample's tokens in every block and leaves
// the others as they are: the cost of gathering and scattering them is part of what is measured.
type share struct {
	g     *tensor.Graph
	index []int32
}

// newShare spreads the share evenly over the tokens of each sample, so that at least one is
// computed.
func newShare(g *tensor.Graph, samples, tokens int, percent float64) *share {
	s := &share{g: g}
	kept := max(1, int(math.Round(float64(tokens)*percent/100)))
	for sample := range samples {
		for i := range kept {
			s.index = append(s.index, int32(sample*tokens+i*tokens/kept))
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

// source gives weights that keep activations of the size that real ones have.
type source struct{}

func (source) Read(_ string, dst []float32) error {
	scale := float32(1 / math.Sqrt(math.Sqrt(float64(len(dst)))))
	state := uint32(len(dst))
	for i := range dst {
		state = state*1664525 + 1013904223
		dst[i] = (float32(state>>8)/(1<<24) - 0.5) * scale
	}
	return nil
}

// samples is a batch for a model.
func samples(c dit.Config, n int) *seam.Batch {
	size := c.InChannels * c.InputSize * c.InputSize
	b := &seam.Batch{X: tensor.FromSlice(pattern(n*size), n, size), T: make([]float32, n), Cond: make([]seam.Condition, n)}
	for i := range b.T {
		b.T[i], b.Cond[i] = 500, dit.Class(0)
	}
	return b
}
