package reuse

import (
	"fmt"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// DBCache computes the first Front blocks at every step, and compares what they add to the tokens with what they added at the last step that computed everything: if the relative L1
// change is below Threshold, what the blocks in the middle added then is added again, and only the last Back blocks are computed. With one block in front and none at the back it is
// known as FBCache, first-block cache. Both come from the public code of inference frameworks, not from a paper; there the change is averaged over the batch, here every
// sample decides for itself.
type DBCache struct {
	Front     int     `policy:"front"`
	Back      int     `policy:"back"`
	Threshold float64 `policy:"threshold"`
	Warmup    int     `policy:"warmup"` // the first so many steps compute everything
	Most      int     `policy:"most"`   // so many steps in a row may reuse; 0: any number
}

// FBCache is the DBCache that watches the first block alone.
type FBCache struct {
	Threshold float64 `policy:"threshold"`
	Warmup    int     `policy:"warmup"`
	Most      int     `policy:"most"`
}

// String returns the policy as Parse takes it.
func (p *DBCache) String() string { return paramText("dbcache", p) }

// String returns the policy as Parse takes it.
func (p *FBCache) String() string { return paramText("fbcache", p) }

// Set changes one parameter.
func (p *DBCache) Set(key, value string) error { return setParam("dbcache", p, key, value) }

// Set changes one parameter.
func (p *FBCache) Set(key, value string) error { return setParam("fbcache", p, key, value) }

// Validate reports parameters that have no meaning.
func (p *DBCache) Validate() error {
	switch {
	case p.Front < 1:
		return fmt.Errorf("front=%d: want 1 or more", p.Front)
	case p.Back < 0:
		return fmt.Errorf("back=%d: want 0 or more", p.Back)
	}
	return checkThreshold(p.Threshold, p.Warmup, p.Most)
}

// Validate reports parameters that have no meaning.
func (p *FBCache) Validate() error { return checkThreshold(p.Threshold, p.Warmup, p.Most) }

func checkThreshold(threshold float64, warmup, most int) error {
	switch {
	case !(threshold >= 0):
		return fmt.Errorf("threshold=%g: want 0 or more", threshold)
	case warmup < 1:
		return fmt.Errorf("warmup=%d: want 1 or more", warmup)
	case most < 0:
		return fmt.Errorf("most=%d: want 1 or more, or 0 for any number", most)
	}
	return nil
}

// general returns the DBCache that an FBCache is.
func (p *FBCache) general() *DBCache {
	return &DBCache{Front: 1, Threshold: p.Threshold, Warmup: p.Warmup, Most: p.Most}
}

// CacheBytes implements Policy.
func (p *FBCache) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	return p.general().cacheBytes("fbcache", m.Shape(), samples)
}

// NewRun implements Policy.
func (p *FBCache) NewRun(m seam.Model, _ Plan, samples int) (Run, error) {
	return p.general().newRun("fbcache", m.Shape(), samples)
}

// CacheBytes implements Policy.
func (p *DBCache) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	return p.cacheBytes("dbcache", m.Shape(), samples)
}

// NewRun implements Policy.
func (p *DBCache) NewRun(m seam.Model, _ Plan, samples int) (Run, error) {
	return p.newRun("dbcache", m.Shape(), samples)
}

func (p *DBCache) cacheBytes(name string, m *seam.Shape, samples int) (int64, error) {
	if err := p.Validate(); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if p.Front >= m.Blocks-p.Back {
		return 0, fmt.Errorf("%s: %d blocks in front and %d at the back leave none of the model's %d to reuse", name, p.Front, p.Back, m.Blocks)
	}
	rows := int64(samples) * int64(m.Tokens)
	return spanBytes(m, p.Front, m.Blocks-p.Back, samples) + 2*4*rows*int64(m.Width), nil
}

func (p *DBCache) newRun(name string, m *seam.Shape, samples int) (Run, error) {
	if _, err := p.cacheBytes(name, m, samples); err != nil {
		return nil, err
	}
	rows, last := samples*m.Tokens, m.Blocks-p.Back // the first of the last blocks
	r := &dbRun{policy: *p, tokens: m.Tokens, width: m.Width, last: last}
	r.middle = newSpan(m, p.Front, last, samples)
	r.residual = tensor.FromSlice(make([]float32, rows*m.Width), rows, m.Width)
	r.computed = tensor.FromSlice(make([]float32, rows*m.Width), rows, m.Width)
	r.change = newRelativeChange(samples, m.Tokens, m.Width)
	r.action, r.reused = make([]spanAction, samples), make([]int, samples)
	r.index = make([]int32, 0, rows)
	r.beginRow, r.endRow, r.keepRow = r.begin, r.end, r.keep
	return r, nil
}

// dbRun is the state of a DBCache.
type dbRun struct {
	policy        DBCache
	g             *tensor.Graph
	tokens, width int
	last          int
	middle        *span
	residual      *tensor.Tensor // what the first blocks add at this step, [rows, D]
	computed      *tensor.Tensor // what they added at the last step that computed everything
	change        *relativeChange
	reused        []int // of each sample: steps in a row
	stats         Cost

	positions []int
	action    []spanAction // of each sample
	index     []int32      // rows of samples that compute the middle
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
	r.middle.enter(r.g, at.Block, x.X, r.action)
	y := some(r.g, x, r.index, f)
	r.middle.leave(r.g, at.Block, y.X, r.action)
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

func (r *dbRun) begin(row int) { copy(r.residual.Row(row), r.x.Row(row)) }
func (r *dbRun) end(row int)   { subtract(r.residual.Row(row), r.x.Row(row)) }

// decide sets what the blocks in the middle do for each sample.
func (r *dbRun) decide() {
	rows := len(r.positions) * r.tokens
	now, then := r.g.RowRange(r.residual, 0, rows), r.g.RowRange(r.computed, 0, rows)
	r.change.compare(r.g, now, then)
	for s, p := range r.positions {
		free := p >= r.policy.Warmup && p > 0 && (r.policy.Most == 0 || r.reused[s] < r.policy.Most)
		if free && r.change.of(s) < r.policy.Threshold {
			r.action[s] = reuseSpan
			r.reused[s]++
			r.stats.PSteps++
		} else {
			r.action[s] = recordSpan
			r.reused[s] = 0
			r.stats.ISteps++
		}
	}
	r.index = rowsOfSamples(r.index[:0], len(r.positions), r.tokens, func(s int) bool { return r.action[s] == recordSpan })
	r.g.EachRow(rows, r.width, r.keepRow)
}

func (r *dbRun) keep(row int) {
	if r.action[row/r.tokens] == recordSpan {
		copy(r.computed.Row(row), r.residual.Row(row))
	}
}

// Reset implements Run: the first step computes everything, so nothing of before is used.
func (r *dbRun) Reset() {}

// Stats implements Run.
func (r *dbRun) Stats() Cost { return r.stats }
