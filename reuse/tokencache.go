package reuse

import (
	"fmt"
	"math/rand/v2"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TokenCache is the method of the paper in all its forms: on I-steps everything is computed; on P-steps each block computes the tokens that matter most, and the others get
// their cached update, or its forecast.
type TokenCache struct {
	Steps      StepChoice `json:"steps"`
	Ratio      float64    `json:"ratio"` // share of all pairs of block and token that a P-step computes
	Selection  Selection  `json:"selection"`
	Cell       int        `json:"cell,omitempty"` // of Grid: tokens pruned of four
	Importance Importance `json:"importance"`
	Keys       Keys       `json:"keys"`
	Cached     Cached     `json:"cached"`
	Order      int        `json:"order"`             // of the forecast that a pruned token gets: 0 is its cached update, 1 and 2 extrapolate it (ours)
	Learned    bool       `json:"learned,omitempty"` // the forecast has weights of its own for every P-step, the same for all tokens, instead of Taylor's; where P-steps compute nothing (ours)
	WriteBack  bool       `json:"write_back"`        // a P-step's computed updates enter the cache, not only an I-step's
	Seed       uint64     `json:"seed,omitempty"`
	Site       PruneSite  `json:"site,omitempty"`

	Predictor *Predictor `json:"-"` // of Static and Dynamic
	Forecast  *Forecast  `json:"-"` // nil: Taylor's series of Order
}

// DefaultTokenCache is what a TokenCache is where nothing else is said.
func DefaultTokenCache() TokenCache {
	return TokenCache{
		Steps: StepChoice{Kind: UniformSteps, K1: 3, Warmup: 2}, Ratio: 0.25, Selection: Global, Importance: UpdateNorm,
		Keys: CachedKeys, Cached: Update, Order: 1, WriteBack: true,
	}
}

// needsPredictor reports whether a predictor chooses tokens; none does if P-steps compute nothing or everything.
func (t *TokenCache) needsPredictor() bool {
	return (t.Importance == Static || t.Importance == Dynamic) && t.Ratio > 0 && t.Ratio < 1
}

// of returns the policy for a model: where no block has a long skip, its branches are all of it.
func (t *TokenCache) of(m *seam.Shape) *TokenCache {
	if t.Site != BodySite || m.JoinsSkip(m.Blocks-1) {
		return t
	}
	whole := *t
	whole.Site = WholeSite
	return &whole
}

// resolve returns which positions are I-steps and which half steps, or why the policy does not fit.
func (t *TokenCache) resolve(m *seam.Shape, plan Plan) (full, half []bool, err error) {
	if full, err = t.Steps.resolve(plan.Steps()); err != nil {
		return nil, nil, err
	}
	if half, err = t.Steps.halves(plan.Steps(), full); err != nil {
		return nil, nil, err
	}
	if f := t.Forecast; f != nil && f.Steps != len(full) {
		return nil, nil, fmt.Errorf("the learned forecast is for %d steps, the run has %d", f.Steps, len(full))
	}
	if t.needsPredictor() {
		err = t.Predictor.check(m)
	}
	return full, half, err
}

// CacheBytes implements Policy.
func (t *TokenCache) CacheBytes(model seam.Model, plan Plan, samples int) (int64, error) {
	if err := t.Validate(); err != nil {
		return 0, err
	}
	m := model.Shape()
	t = t.of(m)
	if _, _, err := t.resolve(m, plan); err != nil {
		return 0, err
	}
	if t.stacked() {
		return t.stackBytes(m, samples), nil
	}
	if _, err := newKeepers(t.Selection, t.Ratio, t.Cell, m.Blocks, m.Tokens); err != nil {
		return 0, err
	}
	bytes := historyBytes(m.Blocks, samples*m.Tokens, m.Width, t.Order)
	if t.keyed() {
		bytes += seam.KVCacheBytes(m.Blocks, samples, m.Tokens, m.Width)
	}
	return bytes, nil
}

// NewRun implements Policy.
func (t *TokenCache) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	m := model.Shape()
	t = t.of(m)
	full, half, err := t.resolve(m, plan)
	if err != nil {
		return nil, err
	}
	if t.stacked() {
		return t.newStackRun(m, full, half, samples)
	}
	n, blocks := m.Tokens, m.Blocks
	keep, err := newKeepers(t.Selection, t.Ratio, t.Cell, blocks, n)
	if err != nil {
		return nil, err
	}
	r := &tokenRun{policy: t, model: m, full: full, tokens: n, samples: samples}
	r.history = newHistory(blocks, samples*n, m.Width, t.Order)
	if t.needsPredictor() {
		r.predict = &predictorRun{p: t.Predictor, m: model}
	}
	for range samples {
		r.keepers, r.alpha = append(r.keepers, keep), append(r.alpha, make([]float32, blocks*n))
		kept := make([][]int32, blocks)
		for b := range kept {
			kept[b] = make([]int32, 0, n)
		}
		r.kept = append(r.kept, kept)
	}
	r.index, r.isKept = make([]int32, 0, samples*n), make([]bool, samples*n)
	r.chooseSample, r.keepRow, r.recordRow, r.settleRow = r.choose, r.keep, r.record, r.settle
	return r, nil
}

// tokenRun is the state of a TokenCache.
type tokenRun struct {
	policy  *TokenCache
	g       *tensor.Graph
	model   *seam.Shape
	full    []bool    // of each position: an I-step
	keepers []keepers // of each sample, as each has its own scratch
	history *history
	keys    *seam.KVCache
	predict *predictorRun // nil unless the importance is a predictor's
	tokens  int           // of a sample
	samples int           // at most
	stats   Cost

	// The forward pass that runs.
	positions []int
	kept      [][][]int32 // for each sample at a P-step and each block: its tokens that are computed
	alpha     [][]float32 // likewise, [L, N]: their importance

	// The block that runs.
	block    int
	computed *tensor.Tensor
	index    []int32 // rows that are computed
	isKept   []bool  // of every row
	x        *tensor.Tensor
	before   *tensor.Tensor // the computed rows as they were
	after    *tensor.Tensor

	chooseSample, keepRow, recordRow, settleRow func(i int) // choose, keep, record and settle
}

// keyed reports whether a KV cache is needed.
func (t *TokenCache) keyed() bool { return t.Keys == CachedKeys && t.Ratio > 0 && t.Ratio < 1 }

// Begin implements Run.
func (r *tokenRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	if len(positions) > r.samples {
		panic(fmt.Sprintf("reuse: a batch of %d samples, the run is for %d", len(positions), r.samples))
	}
	r.g, r.positions = g, positions
	if r.policy.keyed() && (r.keys == nil || r.keys.Samples() != len(positions)) {
		r.keys = seam.NewKVCache(r.model.Blocks, len(positions), r.tokens, r.model.Width)
	}
	any := false
	for _, p := range positions {
		if r.full[p] {
			r.stats.ISteps++
		} else {
			r.stats.PSteps++
			any = true
		}
	}
	if !any {
		return
	}
	if r.predict != nil {
		r.predict.begin(g, b)
	}
	r.g.EachRow(len(positions), len(r.alpha[0]), r.chooseSample)
}

// choose chooses the tokens of a sample at a P-step.
func (r *tokenRun) choose(s int) {
	p := r.positions[s]
	if r.full[p] {
		return
	}
	if r.policy.Ratio > 0 {
		r.score(s, p)
	}
	r.keepers[s].choose(r.kept[s], r.alpha[s])
}

// score sets alpha to the importance of the tokens of a sample.
func (r *tokenRun) score(s, p int) {
	n, alpha := r.tokens, r.alpha[s]
	switch {
	case r.predict != nil:
		r.predict.alpha.copySample(alpha, s)
	case r.policy.Importance == Random:
		random := rand.New(rand.NewPCG(r.policy.Seed, uint64(p)))
		for i := range alpha {
			alpha[i] = random.Float32()
		}
	default:
		h := r.history
		for i := range alpha {
			block, row := i/n, s*n+i%n
			d := h.differences(block, row)
			which := 0
			if h.order > 0 && h.seen[block][row] > 1 {
				which = 1
			}
			alpha[i] = kernel.SumSquares(d[which*h.width:(which+1)*h.width]) * float32(p-int(h.at[block][row]))
		}
	}
}

// prunes reports whether tokens are pruned at a site: each block has one such.
func (r *tokenRun) prunes(at seam.Site) bool {
	if r.policy.Site == BodySite && r.model.JoinsSkip(at.Block) {
		return at.Part == seam.Branches
	}
	return at.Part == seam.Block
}

// Sites implements seam.Reuse.
func (r *tokenRun) Sites() seam.Sites {
	if r.policy.Site == BodySite {
		return seam.SitesOf(seam.Block, seam.Branches)
	}
	return seam.SitesOf(seam.Block)
}

// Apply implements seam.Reuse.
func (r *tokenRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	if !r.prunes(at) {
		return f(x)
	}
	r.block, r.x = at.Block, x.X
	r.chooseRows(at.Block)
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	if len(r.index) == 0 {
		r.g.EachRow(x.X.Rows, x.X.Cols, r.settleRow)
		return x
	}
	computed := x
	if all := len(r.index) == x.X.Rows; !all {
		computed = x.Gather(r.g, r.index)
		if r.policy.Keys == FreshKeys {
			computed.From = x.With(r.g.Copy(x.X))
		}
	}
	if r.policy.keyed() {
		computed = computed.Copy(r.g)
		computed.KV = r.keys
	}
	w := x.X.Cols
	r.before, r.computed = r.g.New(len(r.index), w), computed.X
	r.g.EachRow(len(r.index), w, r.keepRow)
	r.after = f(computed).X
	r.g.EachRow(len(r.index), w, r.recordRow)
	if len(r.index) < x.X.Rows {
		r.g.EachRow(x.X.Rows, w, r.settleRow)
		return x
	}
	return x.With(r.after)
}

// keep copies computed row i, which the block overwrites.
func (r *tokenRun) keep(i int) { copy(r.before.Row(i), r.computed.Row(i)) }

// chooseRows lists the rows that are computed in a block.
func (r *tokenRun) chooseRows(block int) {
	r.index = r.index[:0]
	n := r.tokens
	for s, p := range r.positions {
		rows := r.isKept[s*n : (s+1)*n]
		for i := range rows {
			rows[i] = r.full[p]
		}
		if r.full[p] {
			for i := range n {
				r.index = append(r.index, int32(s*n+i))
			}
			continue
		}
		for _, i := range r.kept[s][block] {
			rows[i] = true
			r.index = append(r.index, int32(s*n)+i)
		}
	}
}

// record puts computed row i in its place and into the cache.
func (r *tokenRun) record(i int) {
	row := int(r.index[i])
	p := r.positions[row/r.tokens]
	after := r.after.Row(i)
	if len(r.index) < r.x.Rows {
		copy(r.x.Row(row), after)
	}
	if !r.policy.WriteBack && !r.full[p] {
		return
	}
	fresh := r.before.Row(i)
	if r.policy.Cached == Output {
		copy(fresh, after)
	} else {
		subtract(fresh, after)
	}
	r.history.record(r.block, row, p, fresh)
}

// settle gives row its cached update if it was not computed.
func (r *tokenRun) settle(row int) {
	if r.isKept[row] {
		return
	}
	x := r.x.Row(row)
	if r.policy.Cached == Output {
		clear(x)
	}
	r.history.addForecast(x, r.block, row, r.positions[row/r.tokens])
}

// Reset implements Run.
func (r *tokenRun) Reset() { r.history.reset() }

// Stats implements Run.
func (r *tokenRun) Stats() Cost { return r.stats }

// Ranker is a Run that ranks tokens, and tells how: for those who draw it.
type Ranker interface {
	Run
	// Importance returns the importance alpha of every token in every block, [L, N], for a sample of the pass that Begin was told of, or nil where nothing is ranked: on I-steps, and
	// where P-steps compute all tokens or none. It holds until the next call, and may be called until the pass begins.
	Importance(sample int) []float32
}

// Importance implements Ranker.
func (r *tokenRun) Importance(sample int) []float32 {
	if p := r.positions[sample]; !r.full[p] && r.policy.Ratio > 0 && r.policy.Ratio < 1 {
		r.score(sample, p)
		return r.alpha[sample]
	}
	return nil
}
