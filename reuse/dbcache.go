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
// batch, here every sample decides for itself, or with the other half of its image.
//
// With an Order the residual in the middle is not reused but forecast, by Taylor series over the
// steps that computed everything ("DBCache with TaylorSeer"). As in cache-dit differences begin at
// position 3.
//
// Limits are counted as cache-dit counts them. A step that computes everything because of the
// change does not end a row of reuses: the count of MaxContinuous goes on in the next row from its
// second step on, and begins at 0 once it was reached. See docs/methods.md.
type DBCache struct {
	Front         int     `policy:"front,fn,fn-compute-blocks" min:"1" help:"first blocks, which are compared"`
	Back          int     `policy:"back,bn,bn-compute-blocks" min:"0" help:"last blocks that are always computed"`
	Threshold     float64 `policy:"threshold,residual-diff-threshold" min:"0" help:"relative L1 change from which on everything is computed"`
	Warmup        int     `policy:"warmup,max-warmup-steps" min:"1" help:"full steps at the start"`
	MaxContinuous int     `policy:"most,max-continuous,max-continuous-cached-steps" min:"0" help:"max reuses in a row; 0: no limit"`

	// WarmupInterval of n, if more than 1, makes only every n-th step of the warmup full beforehand.
	WarmupInterval int `policy:"warmup-interval" min:"1" help:"period of full steps within the warmup"`
	MaxCached      int `policy:"max-cached,max-cached-steps" min:"0" help:"max reuses in all; 0: no limit"`
	Order          int `policy:"order,taylorseer-order" min:"0" max:"4" help:"order of the Taylor series that forecasts the residual; 0: it is reused"`

	// Halves is SeparateHalves, also if empty, or JointHalves.
	Halves string `policy:"halves" values:"separate|joint" empty:"separate" help:"how guidance's two halves decide"`
}

// NewDBCache returns a DBCache with its defaults.
func NewDBCache() *DBCache {
	return &DBCache{
		Front:          2,
		Back:           1,
		Threshold:      0.1,
		Warmup:         1,
		WarmupInterval: 1,
	}
}

// written implements writer: the last parameters are left out at their defaults.
func (p *DBCache) written() []string {
	names := []string{"front", "back", "threshold", "warmup", "most"}
	if p.WarmupInterval > 1 {
		names = append(names, "warmup-interval")
	}
	if p.MaxCached != 0 {
		names = append(names, "max-cached")
	}
	if p.Order != 0 {
		names = append(names, "order")
	}
	if p.Halves != "" && p.Halves != SeparateHalves {
		names = append(names, "halves")
	}
	return names
}

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
func (p *DBCache) Kind() Kind {
	if p.Order == 0 {
		return Caches
	}
	return Extrapolates
}

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
	middle := residualBytes(m, p.Front, m.Blocks-p.Back, samples)
	if p.Order > 0 {
		middle = forecastResidualBytes(m, p.Front, m.Blocks-p.Back, samples, p.Order)
	}
	return middle + 2*4*int64(samples)*int64(m.Tokens)*int64(m.Width), nil
}

// firstDifference is the first position whose residual makes differences with earlier ones: in
// cache-dit the count of steps lags by one.
const firstDifference = 3

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
		front:    newRows(rows, m.Width),
		computed: newRows(rows, m.Width),
		change:   newRelativeChange(samples, m),
		action:   make([]residualAction, samples),
		reused:   make([]reuses, samples),
		twin:     make(twins, samples),
		index:    make([]int32, 0, rows),
	}
	if p.Order == 0 {
		r.middle = newResidual(m, p.Front, last, samples)
	} else {
		r.middle = newForecastResidual(m, p.Front, last, samples, p.Order)
		r.middle.past.since = firstDifference
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
	reused        []reuses // of each sample
	stats         Cost

	positions []int
	twin      twins
	action    []residualAction // of each sample
	index     []int32          // rows of samples that compute the middle
	x         *tensor.Tensor

	beginRow, endRow, keepRow func(row int)
}

// reuses counts the steps of a sample that reused.
type reuses struct {
	all  int
	row  int // what MaxContinuous limits
	last int // the position of the last
}

// add counts a reuse at a position. From a count of 0 the first reuse of a row counts only once the
// second comes; the very first counts at once.
func (c *reuses) add(position int) {
	switch {
	case c.all == 0:
		c.row++
	case c.last == position-1 && c.row == 0:
		c.row = 2
	case c.last == position-1:
		c.row++
	}
	c.all++
	c.last = position
}

// Begin implements Run.
func (r *dbRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	r.middle.positions = positions
	if r.policy.Halves == JointHalves {
		r.twin.pair(b, len(positions))
	} else {
		r.twin.part(len(positions))
	}
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
	for s, p := range r.positions {
		if r.mayReuse(s, p) && r.change.ofBoth(s, r.twin[s]) < r.policy.Threshold {
			r.action[s] = reuseResidual
			r.reused[s].add(p)
			r.stats.PSteps++
		} else {
			r.action[s] = recordResidual
			r.stats.ISteps++
		}
	}
	r.index = rowsOfSamples(r.index[:0], len(r.positions), r.tokens, func(s int) bool {
		return r.action[s] == recordResidual
	})
	r.g.EachRow(rows, r.width, r.keepRow)
}

// mayReuse reports whether a sample may reuse at a position if the change is small enough.
func (r *dbRun) mayReuse(s, position int) bool {
	p, count := &r.policy, &r.reused[s]
	if position == 0 {
		*count = reuses{}
	}
	switch {
	case position == 0, position < p.Warmup && position%max(1, p.WarmupInterval) == 0:
		return false
	case p.MaxCached > 0 && count.all >= p.MaxCached:
		return false
	case p.MaxContinuous > 0 && count.row >= p.MaxContinuous:
		count.row = 0
		return false
	}
	return true
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
