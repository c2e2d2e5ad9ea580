package reuse

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TokenCache is the method of the paper in all its forms ("Token Caching for Diffusion Transformer
// Acceleration", arXiv 2409.18523): on I-steps everything is computed; on P-steps each block
// computes its most important tokens, and the others get their cached update, or its forecast.
//
// The paper's notation, and where each symbol is here:
//
//	t        timestep of the step at hand; t+1 is the one before       Plan.Timesteps, falling
//	L, N     blocks, tokens of a sample                                seam.Shape.Blocks, Tokens
//	x[l,n]   token n after block l; x[0,n] before the first            seam.Tokens.X
//	F[l,n]   update: f_l(x[l-1])[n] - x[l-1,n]               (1)       tokenRun.past, if Cached is Update
//	alpha    importance of (l,n), in [0,1]                             Importance, Predictor, tokenRun.alpha
//	r        cache ratio: share of the pairs (l,n) reused              1 - Ratio
//	r[l]     the same in block l                                       follows from Selection
//	K        period of I-steps; K1 and K2 in the phases of TPRR        Steps.K1, Steps.K2
//	K[l]     tokens of block l that a P-step computes                  tokenRun.kept, by a selector
//	F^[l,n]  cached update, or its forecast                            differences.addForecast, Order
//
// Update-superposition, through which a predictor is trained (Superposition):
//
//	x[l,n] = x[l-1,n] + alpha[l,n]·F_t[l,n] + (1-alpha[l,n])·F_{t+1}[l,n]                 (2)
//
// The first version writes it on outputs instead of updates (Cached is Output):
//
//	x[l,n] = alpha[l,n]·f_l(x_t[l-1])[n] + (1-alpha[l,n])·x_{t+1}[l,n]                    (3)
//
// Sampling is hard, alpha 1 for n in K[l] and else 0 (tokenRun.Apply):
//
//	x[l,n] = f_l(x[l-1])[n]        for n in K[l]
//	x[l,n] = x[l-1,n] + F^[l,n]    for the others                                         (4)
//
// Where P-steps compute nothing, only R[n] = sum over l of F[l,n] is kept (5): see stepForecast.
type TokenCache struct {
	Steps StepChoice `json:"steps" policy:"inline"`

	// Ratio is the share of all pairs of block and token that a P-step computes, 1 - r. Where tokens
	// begin with a text's, it is that of the image's; if any is computed, so is the text.
	Ratio float64 `json:"ratio" policy:"ratio" min:"0" max:"1" help:"share of the pairs of block and token that P-steps compute"`
	// Selection spreads them over blocks; Cell is for Grid.
	Selection Selection `json:"selection" policy:"selection" values:"per-block|global|grid" help:"how the computed pairs are chosen"`
	Cell      int       `json:"cell,omitempty" policy:"cell" min:"1" max:"4" default:"3" help:"with selection=grid: pruned tokens of each 2x2 cell"`

	// At is which P-steps compute them.
	At TokenSteps `json:"at,omitempty" policy:"at" values:"every|last" empty:"every" help:"P-steps that compute tokens: every one, or the last ones before each I-step, as many in all"`

	Importance Importance `json:"importance" policy:"importance" values:"random|update-norm|static|dynamic" help:"what tokens are ranked by"`
	Keys       Keys       `json:"keys" policy:"keys" values:"kept|cached|forecast|fresh" help:"keys and values that computed tokens attend to"`
	Cached     Cached     `json:"cached" policy:"cached" values:"update|output" help:"what is cached of a token in a block"`

	// Order is that of the forecast that a pruned token gets: 0 is its cached update, higher ones
	// extrapolate it (beyond the paper), in the form of Basis.
	Order int   `json:"order" policy:"order" min:"0" max:"4" help:"order of forecasts; 0 reuses the cached update"`
	Basis Basis `json:"basis" policy:"basis" values:"newton|taylor|hermite" empty:"newton" help:"form of forecasts"`
	// Time is that of the forecasts of Order; learned ones have their own weights at each step.
	Time Clock `json:"time,omitempty" policy:"time" values:"index|logsnr" empty:"index" help:"time over which forecasts extrapolate: steps, or the log-SNR"`
	// Learned makes the forecast's weights those of Forecast, one set for each P-step and the same
	// for all tokens and blocks, instead of those of Order (beyond the paper).
	Learned bool `json:"learned,omitempty" policy:"learned" help:"forecasts have calibrated weights"`
	// WriteBack lets what a P-step computes enter the cache, not only what an I-step does. It is for
	// order 0: such values are made among forecasts, and their differences over a step or two amplify
	// the error.
	WriteBack bool `json:"write_back" policy:"write-back" help:"P-steps' updates enter the cache too"`

	Seed uint64 `json:"seed,omitempty" policy:"seed" help:"seed of importance=random"`
	// Site is for models with long skips.
	Site PruneSite `json:"site,omitempty" policy:"site" values:"whole|body" empty:"whole" help:"what is pruned of a block with a long skip"`

	Predictor *Predictor `json:"-"` // of Static and Dynamic
	Forecast  *Forecast  `json:"-"` // nil: that of Order and Basis
}

// NewTokenCache returns a TokenCache with its defaults, the best that need no calibration.
func NewTokenCache() *TokenCache { return newTokenCacheBy(Random) }

func newTokenCacheBy(i Importance) *TokenCache {
	return &TokenCache{
		Steps:      StepChoice{Kind: UniformSteps, K1: 3, Warmup: 2},
		Ratio:      0.1,
		Selection:  Global,
		At:         LastPSteps,
		Importance: i,
		Keys:       ForecastKeys,
		Cached:     Update,
		Order:      2,
	}
}

// LearnedMultistep is what a TokenCache is called whose P-steps compute nothing and have learned
// forecasts. It chooses no token: in effect it is a linear multistep method with fitted weights, on
// residuals instead of predicted noise (after BNS, arXiv 2403.01329, and S4S, arXiv 2502.17423).
const LearnedMultistep = "learned multistep"

// Title is the method's name in lists and charts.
func (t *TokenCache) Title() string {
	if t.Learned && t.forecastsSteps() {
		return LearnedMultistep
	}
	return "TokenCache"
}

// Kind implements Described.
func (t *TokenCache) Kind() Kind {
	switch {
	case t.Learned || t.Order > 0:
		return Extrapolates
	case t.forecastsSteps():
		return SkipsSteps
	}
	return Caches
}

// Granularity implements Described.
func (t *TokenCache) Granularity() Granularity {
	switch {
	case t.forecastsSteps():
		return ByStep
	case t.Ratio == 0:
		return ByBlock
	}
	return ByToken
}

// ContentHash implements ContentHasher.
func (t *TokenCache) ContentHash() string {
	text := t.String()
	if t.Learned && t.Forecast != nil {
		h := sha256.New()
		binary.Write(h, binary.LittleEndian, t.Forecast.Weights)
		text = fmt.Sprintf("%s forecast %x", text, h.Sum(nil))
	}
	if t.needsPredictor() && t.Predictor != nil {
		text += " predictor " + t.Predictor.fingerprint
	}
	return text
}

// needsPredictor reports whether a predictor chooses tokens; none does if P-steps compute nothing
// or everything.
func (t *TokenCache) needsPredictor() bool {
	return (t.Importance == Static || t.Importance == Dynamic) && t.Ratio > 0 && t.Ratio < 1
}

// forModel returns the policy for a model: where no block has a long skip, its branches are all of
// it.
func (t *TokenCache) forModel(m *seam.Shape) *TokenCache {
	if t.Site != BodySite || m.JoinsSkip(m.Blocks-1) {
		return t
	}
	whole := *t
	whole.Site = ""
	return &whole
}

// resolved is a TokenCache for a model and a plan.
type resolved struct {
	*TokenCache
	full     []bool    // of each position: an I-step
	half     []bool    // of each position: a half step
	ratios   []float64 // of each position: the share of pairs that a P-step computes
	selector selector
	times    []float32 // of each position: see Plan.clock
}

// resolve returns the policy for a model and a plan, or why it does not fit.
func (t *TokenCache) resolve(m *seam.Shape, plan Plan) (*resolved, error) {
	if err := t.Validate(); err != nil {
		return nil, named("tokencache", err)
	}
	r := &resolved{TokenCache: t.forModel(m)}
	if err := r.fit(m, plan); err != nil {
		return nil, named("tokencache", err)
	}
	return r, nil
}

func (r *resolved) fit(m *seam.Shape, plan Plan) (err error) {
	if r.full, err = r.Steps.resolve(plan.Steps()); err != nil {
		return err
	}
	if r.times, err = plan.clock(r.Time); err != nil {
		return err
	}
	if r.half, err = r.Steps.halves(plan.Steps(), r.full); err != nil {
		return err
	}
	if f := r.Forecast; f != nil && f.Steps != len(r.full) {
		return fmt.Errorf("the learned forecast is for %d steps, the run has %d", f.Steps, len(r.full))
	}
	if r.needsPredictor() {
		if err := r.Predictor.check(m); err != nil {
			return err
		}
	}
	if r.forecastsSteps() {
		return nil
	}
	r.ratios = r.stepRatios(r.full)
	r.selector, err = newSelector(r.TokenCache, m)
	return err
}

// CacheBytes implements Policy.
func (t *TokenCache) CacheBytes(model seam.Model, plan Plan, samples int) (int64, error) {
	m := model.Shape()
	r, err := t.resolve(m, plan)
	if err != nil {
		return 0, err
	}
	if r.forecastsSteps() {
		return r.stepForecastBytes(m, samples), nil
	}
	rows := samples * m.Tokens
	return r.differencesBytes(m.Cache, m.Blocks, rows, m.Width) + r.keyBytes(m, samples), nil
}

// Shares implements Scheduled.
func (t *TokenCache) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	r, err := t.resolve(m, plan)
	if err != nil {
		return nil, err
	}
	half := 1.0 // without guidance all of it is conditional
	if plan.Guide().Enabled() {
		half = 0.5
	}
	return sharesBy(plan, func(p int) float64 {
		switch {
		case r.full[p]:
			return 1
		case r.half[p]:
			return half
		case r.forecastsSteps():
			return 0
		}
		return r.selector.share(m.Tokens, r.ratios[p])
	}), nil
}

// NewRun implements Policy.
func (t *TokenCache) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	m := model.Shape()
	p, err := t.resolve(m, plan)
	if err != nil {
		return nil, err
	}
	if p.forecastsSteps() {
		return newStepForecast(p, m, samples), nil
	}
	n, blocks := m.Tokens, m.Blocks
	r := &tokenRun{
		policy:  p,
		model:   m,
		tokens:  n,
		samples: samples,
		past:    p.differences(m.Cache, blocks, samples*n, m.Width),
		index:   make([]int32, 0, samples*n),
		isKept:  make([]bool, samples*n),
	}
	if p.needsPredictor() {
		r.predict = &predictorRun{p: p.Predictor, m: model}
	}
	r.keys = p.newKeys(m, samples)
	for range samples {
		r.selectors = append(r.selectors, p.selector)
		r.alpha = append(r.alpha, make([]float32, blocks*n))
		kept := make([][]int32, blocks)
		for b := range kept {
			kept[b] = make([]int32, 0, n)
		}
		r.kept = append(r.kept, kept)
	}
	r.chooseSample, r.keepRow, r.recordRow, r.reuseRow = r.choose, r.keep, r.record, r.reuse
	r.forecastKeysRow, r.recordKeysRow = r.forecastKeysOf, r.recordKeysOf
	return r, nil
}

// tokenRun is the state of a TokenCache that prunes tokens in each block.
type tokenRun struct {
	policy    *resolved
	g         *tensor.Graph
	model     *seam.Shape
	selectors []selector    // of each sample, as each has its own scratch
	past      *differences  // of each block
	keys      *keyCache     // nil if none is needed
	predict   *predictorRun // nil unless the importance is a predictor's
	tokens    int           // of a sample
	samples   int           // at most
	stats     Cost

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

	chooseSample, keepRow, recordRow, reuseRow func(i int) // choose, keep, record and reuse
	forecastKeysRow, recordKeysRow             func(i int) // forecastKeysOf and recordKeysOf
}

// Begin implements Run.
func (r *tokenRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	if len(positions) > r.samples {
		panic(fmt.Sprintf("reuse: a batch of %d samples, the run is for %d", len(positions), r.samples))
	}
	r.g, r.positions = g, positions
	if r.keys != nil {
		r.keys.begin(r.model, len(positions))
	}
	any, ranked := false, false
	for _, p := range positions {
		if r.policy.full[p] {
			r.stats.ISteps++
		} else {
			r.stats.PSteps++
			any, ranked = true, ranked || r.ranks(p)
		}
	}
	if !any {
		return
	}
	if r.predict != nil && ranked {
		r.predict.begin(g, b)
	}
	r.g.EachRow(len(positions), len(r.alpha[0]), r.chooseSample)
}

// choose chooses the tokens of a sample at a P-step.
func (r *tokenRun) choose(s int) {
	p := r.positions[s]
	if r.policy.full[p] {
		return
	}
	if r.ranks(p) {
		r.score(s, p)
	}
	r.selectors[s].choose(r.kept[s], r.alpha[s], r.policy.ratios[p])
}

// ranks reports whether tokens are ranked at a position: not where all are computed, or none.
func (r *tokenRun) ranks(p int) bool {
	return r.policy.ratios[p] > 0 && r.policy.ratios[p] < 1
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
		for i := range alpha {
			alpha[i] = r.past.lastTerm(i/n, s*n+i%n, p)
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

// Apply implements seam.Reuse: equation (4).
func (r *tokenRun) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	if !r.prunes(at) {
		return f(x)
	}
	r.block, r.x = at.Block, x.X
	r.chooseRows(at.Block)
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	if len(r.index) == 0 {
		r.g.EachRow(x.X.Rows, x.X.Cols, r.reuseRow)
		return x
	}
	computed := x
	if all := len(r.index) == x.X.Rows; !all {
		computed = x.Gather(r.g, r.index)
		if r.policy.Keys == FreshKeys {
			computed.From = x.With(r.g.Copy(x.X))
		}
	}
	w := x.X.Cols
	r.before, r.computed = r.g.New(len(r.index), w), computed.X
	r.g.EachRow(len(r.index), w, r.keepRow)
	if r.keys != nil {
		computed = computed.Copy(r.g)
		computed.KV = r.forecastKeys(x.X.Rows)
	}
	r.after = f(computed).X
	r.g.EachRow(len(r.index), w, r.recordRow)
	if r.keys != nil {
		r.recordKeys()
	}
	if len(r.index) < x.X.Rows {
		r.g.EachRow(x.X.Rows, w, r.reuseRow)
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
		full, rows := r.policy.full[p], r.isKept[s*n:(s+1)*n]
		for i := range rows {
			rows[i] = full
		}
		if full {
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

// writes reports whether what a step computes enters the cache.
func (r *tokenRun) writes(position int) bool {
	return r.policy.WriteBack || r.policy.full[position]
}

// record puts computed row i in its place and into the cache.
func (r *tokenRun) record(i int) {
	row := int(r.index[i])
	p := r.positions[row/r.tokens]
	after := r.after.Row(i)
	if len(r.index) < r.x.Rows {
		copy(r.x.Row(row), after)
	}
	if !r.writes(p) {
		return
	}
	fresh := r.before.Row(i)
	if r.policy.Cached == Output {
		copy(fresh, after)
	} else {
		kernel.Sub(fresh, after, fresh)
	}
	r.past.record(r.block, row, p, fresh)
}

// reuse gives row its cached update if it was not computed.
func (r *tokenRun) reuse(row int) {
	if r.isKept[row] {
		return
	}
	x := r.x.Row(row)
	if r.policy.Cached == Output {
		clear(x)
	}
	r.past.addForecast(x, r.block, row, r.positions[row/r.tokens])
}

// Reset implements Run.
func (r *tokenRun) Reset() {
	r.past.reset()
	if r.keys != nil && r.keys.past != nil {
		r.keys.past.reset()
	}
}

// Stats implements Run.
func (r *tokenRun) Stats() Cost { return r.stats }

// Ranker is a Run that ranks tokens, and tells how: for charts.
type Ranker interface {
	Run
	// Importance returns the importance alpha of every token in every block, [L, N], for a sample
	// of the pass that Begin was told of. It is nil where nothing is ranked: on I-steps, and where
	// P-steps compute all tokens or none. It is valid until the next call, and may be called until
	// the pass begins.
	Importance(sample int) []float32
}

// Importance implements Ranker.
func (r *tokenRun) Importance(sample int) []float32 {
	if p := r.positions[sample]; r.ranks(p) {
		r.score(sample, p)
		return r.alpha[sample]
	}
	return nil
}
