package reuse

import (
	"fmt"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// DBCache computes the first Front blocks at every step, and compares their residual with that of
// the last step that computed everything. If the relative L1 change is below Threshold, the
// residual of the blocks in the middle is reused, and only the last Back blocks are computed. With
// one block in front and none at the back it is known as FBCache, first-block cache. Both come from
// the public code of inference frameworks, not from a paper; there the change is averaged over the
// batch, here every sample decides for itself.
type DBCache struct {
	Front         int     `policy:"front,fn,fn-compute-blocks" min:"1" help:"first blocks, which are compared"`
	Back          int     `policy:"back,bn,bn-compute-blocks" min:"0" help:"last blocks that are always computed"`
	Threshold     float64 `policy:"threshold,residual-diff-threshold" min:"0" help:"relative L1 change from which on everything is computed"`
	Warmup        int     `policy:"warmup,max-warmup-steps" min:"1" help:"full steps at the start"`
	MaxContinuous int     `policy:"most,max-continuous,max-continuous-cached-steps" min:"0" help:"max reuses in a row; 0: no limit"`
}

// NewDBCache returns a DBCache with its defaults.
func NewDBCache() *DBCache { return &DBCache{Front: 2, Back: 1, Threshold: 0.1, Warmup: 1} }

// FBCache is the DBCache that compares the first block alone.
type FBCache struct {
	Threshold     float64 `policy:"threshold,residual-diff-threshold" min:"0" help:"relative L1 change from which on everything is computed"`
	Warmup        int     `policy:"warmup,max-warmup-steps" min:"1" help:"full steps at the start"`
	MaxContinuous int     `policy:"most,max-continuous,max-continuous-cached-steps" min:"0" help:"max reuses in a row; 0: no limit"`
}

// NewFBCache returns an FBCache with its defaults.
func NewFBCache() *FBCache { return &FBCache{Threshold: 0.1, Warmup: 1} }

// String returns the policy as Parse takes it.
func (p *DBCache) String() string { return paramText("dbcache", p) }

// String returns the policy as Parse takes it.
func (p *FBCache) String() string { return paramText("fbcache", p) }

// Set changes one parameter.
func (p *DBCache) Set(key, value string) error { return setParam(p, key, value) }

// Set changes one parameter.
func (p *FBCache) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *DBCache) Validate() error { return checkParams(p) }

// Validate reports parameters that have no meaning.
func (p *FBCache) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *DBCache) Kind() Kind { return Caches }

// Kind implements Described.
func (p *FBCache) Kind() Kind { return Caches }

// Granularity implements Described.
func (p *DBCache) Granularity() Granularity { return ByBlock }

// Granularity implements Described.
func (p *FBCache) Granularity() Granularity { return ByBlock }

// general returns the DBCache that an FBCache is.
func (p *FBCache) general() *DBCache {
	return &DBCache{Front: 1, Threshold: p.Threshold, Warmup: p.Warmup, MaxContinuous: p.MaxContinuous}
}

// CacheBytes implements Policy.
func (p *FBCache) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	bytes, err := p.general().cacheBytes(m.Shape(), samples)
	return bytes, named("fbcache", err)
}

// NewRun implements Policy.
func (p *FBCache) NewRun(m seam.Model, _ Plan, samples int) (Run, error) {
	return p.general().newRun("fbcache", m.Shape(), samples)
}

// CacheBytes implements Policy.
func (p *DBCache) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	bytes, err := p.cacheBytes(m.Shape(), samples)
	return bytes, named("dbcache", err)
}

// NewRun implements Policy.
func (p *DBCache) NewRun(m seam.Model, _ Plan, samples int) (Run, error) {
	return p.newRun("dbcache", m.Shape(), samples)
}

func (p *DBCache) cacheBytes(m *seam.Shape, samples int) (int64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	if p.Front >= m.Blocks-p.Back {
		return 0, fmt.Errorf("%d blocks in front and %d at the back leave none of the model's %d to reuse",
			p.Front, p.Back, m.Blocks)
	}
	rows := int64(samples) * int64(m.Tokens)
	return residualBytes(m, p.Front, m.Blocks-p.Back, samples) + 2*4*rows*int64(m.Width), nil
}

func (p *DBCache) newRun(method string, m *seam.Shape, samples int) (Run, error) {
	if _, err := p.cacheBytes(m, samples); err != nil {
		return nil, named(method, err)
	}
	rows, last := samples*m.Tokens, m.Blocks-p.Back
	r := &dbRun{
		policy:   *p,
		tokens:   m.Tokens,
		width:    m.Width,
		last:     last,
		middle:   newResidual(m, p.Front, last, samples),
		front:    newRows(rows, m.Width),
		computed: newRows(rows, m.Width),
		change:   newRelativeChange(samples, m.Tokens),
		action:   make([]residualAction, samples),
		reused:   make([]int, samples),
		index:    make([]int32, 0, rows),
	}
	r.beginRow, r.endRow, r.keepRow = r.begin, r.end, r.keep
	return r, nil
}

// dbRun is the state of a DBCache.
type dbRun struct {
	policy        DBCache
	g             *tensor.Graph
	tokens, width int
	last          int // the first of the last blocks
	middle        *residual
	front         *tensor.Tensor // the residual of the first blocks at this step, [rows, D]
	computed      *tensor.Tensor // the same at the last step that computed everything
	change        *relativeChange
	reused        []int // of each sample: steps in a row
	stats         Cost

	positions []int
	action    []residualAction // of each sample
	index     []int32          // rows of samples that compute the middle
	x         *tensor.Tensor

	beginRow, endRow, keepRow func(row int)
}

// Begin implements Run.
func (r *dbRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
}

// Sites implements seam.Reuse.
func (r *dbRun) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *dbRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	rows := x.X.Rows
	r.stats.Rows += int64(rows)
	if at.Block < r.policy.Front || at.Block >= r.last {
		r.stats.ComputedRows += int64(rows)
		return r.outer(at.Block, x, f)
	}
	r.stats.ComputedRows += int64(len(r.index))
	r.middle.before(r.g, at.Block, x.X, r.action)
	y := computeRows(r.g, x, r.index, f)
	r.middle.after(r.g, at.Block, y.X, r.action)
	return y
}

// outer runs one of the first or last blocks, and decides after the last of the first.
func (r *dbRun) outer(block int, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	if block == 0 {
		r.x = x.X
		r.g.EachRow(x.X.Rows, r.width, r.beginRow)
	}
	y := f(x)
	if block == r.policy.Front-1 {
		r.x = y.X
		r.g.EachRow(y.X.Rows, r.width, r.endRow)
		r.decide()
	}
	return y
}

func (r *dbRun) begin(row int) { copy(r.front.Row(row), r.x.Row(row)) }

func (r *dbRun) end(row int) {
	front := r.front.Row(row)
	kernel.Sub(front, r.x.Row(row), front)
}

// decide sets what the blocks in the middle do for each sample.
func (r *dbRun) decide() {
	rows := len(r.positions) * r.tokens
	r.change.compare(r.g, r.g.RowRange(r.front, 0, rows), r.g.RowRange(r.computed, 0, rows))
	most := r.policy.MaxContinuous
	for s, p := range r.positions {
		free := p >= r.policy.Warmup && p > 0 && (most == 0 || r.reused[s] < most)
		if free && r.change.of(s) < r.policy.Threshold {
			r.action[s] = reuseResidual
			r.reused[s]++
			r.stats.PSteps++
		} else {
			r.action[s] = recordResidual
			r.reused[s] = 0
			r.stats.ISteps++
		}
	}
	r.index = rowsOfSamples(r.index[:0], len(r.positions), r.tokens, func(s int) bool {
		return r.action[s] == recordResidual
	})
	r.g.EachRow(rows, r.width, r.keepRow)
}

func (r *dbRun) keep(row int) {
	if r.action[row/r.tokens] == recordResidual {
		copy(r.computed.Row(row), r.front.Row(row))
	}
}

// Reset implements Run: the first step computes everything, so nothing of before is used.
func (r *dbRun) Reset() {}

// Stats implements Run.
func (r *dbRun) Stats() Cost { return r.stats }
