package reuse

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/tensor"
)

// Importance is where the importance of tokens comes from.
type Importance string

const (
	// Random is a control: the same pseudo-random numbers for every sample, others at every step.
	Random Importance = "random"
	// UpdateNorm is a control: the size of a token's last change of its update or, where forecasts use none, of the update itself.
	UpdateNorm Importance = "update-norm"
	// Static is the first version's predictor: a network of block and timestep.
	Static Importance = "static"
	// Dynamic is the second version's predictor: a transformer block that reads x_t and the conditioning.
	Dynamic Importance = "dynamic"
)

// Keys is what the tokens that a P-step computes attend to.
type Keys string

const (
	// KeptKeys are those of the computed tokens alone.
	KeptKeys Keys = "kept"
	// CachedKeys are also those of the other tokens, as they were when these were computed last.
	CachedKeys Keys = "cached"
	// FreshKeys are those of all tokens as they are now, which costs their projection.
	FreshKeys Keys = "fresh"
)

// Cached is what the cache holds of a token.
type Cached string

const (
	// Update is what the block added to the token: the second version's superposition.
	Update Cached = "update"
	// Output is the token after the block: the first version's.
	Output Cached = "output"
)

// PruneSite is what of a block with a long skip (MDTv2) pruned tokens are spared; of other blocks it is always the whole.
type PruneSite string

const (
	// WholeSite is the block with the linear map that joins the skip: a cached update stands for both. It is what "" means.
	WholeSite PruneSite = "whole"
	// BodySite is the two branches: the map is computed of every token with its present skip.
	BodySite PruneSite = "body"
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

// String returns the policy as Parse takes it.
func (t *TokenCache) String() string {
	list := []string{"steps=" + string(t.Steps.Kind)}
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch t.Steps.Kind {
	case UniformSteps:
		add("k=%d", t.Steps.K1)
	case TPRR:
		add("k1=%d,k2=%d,boundary=%g", t.Steps.K1, t.Steps.K2, t.Steps.Boundary)
	case ListedSteps:
		add("i=%s", positions(t.Steps.List))
	}
	if len(t.Steps.Half) > 0 {
		add("half=%s", positions(t.Steps.Half))
	}
	add("warmup=%d,ratio=%g", t.Steps.Warmup, t.Ratio)
	if t.Ratio > 0 {
		add("selection=%s", t.Selection)
	}
	if t.Ratio > 0 && t.Selection == Grid {
		add("cell=%d", t.Cell)
	}
	if t.Ratio > 0 {
		add("importance=%s,keys=%s,write-back=%t", t.Importance, t.Keys, t.WriteBack)
	}
	add("cached=%s", t.Cached)
	if t.Learned {
		add("learned=true")
	} else {
		add("order=%d", t.Order)
	}
	if t.Site == BodySite {
		add("site=%s", t.Site)
	}
	if t.Seed != 0 {
		add("seed=%d", t.Seed)
	}
	return "tokencache:" + strings.Join(list, ",")
}

// positions returns a list as a user writes it: 0+3+7.
func positions(list []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", "+"), "[]")
}

// Set changes one parameter, by the name that String gives it.
func (t *TokenCache) Set(key, value string) error {
	var err error
	number := func(into *int) { *into, err = strconv.Atoi(value) }
	list := func(into *[]int) {
		*into = nil
		for _, s := range strings.Split(value, "+") {
			p := 0
			if p, err = strconv.Atoi(s); err != nil {
				break
			}
			*into = append(*into, p)
		}
	}
	switch key {
	case "steps":
		t.Steps.Kind = StepKind(value)
	case "k", "k1":
		number(&t.Steps.K1)
	case "k2":
		number(&t.Steps.K2)
	case "boundary":
		t.Steps.Boundary, err = strconv.ParseFloat(value, 64)
	case "warmup":
		number(&t.Steps.Warmup)
	case "i":
		list(&t.Steps.List)
	case "half":
		list(&t.Steps.Half)
	case "ratio":
		t.Ratio, err = strconv.ParseFloat(value, 64)
	case "selection":
		if t.Selection = Selection(value); t.Selection == Grid && t.Cell == 0 {
			t.Cell = defaultCell
		}
	case "cell":
		number(&t.Cell)
	case "importance":
		t.Importance = Importance(value)
	case "keys":
		t.Keys = Keys(value)
	case "cached":
		t.Cached = Cached(value)
	case "order":
		number(&t.Order)
	case "learned":
		t.Learned, err = strconv.ParseBool(value)
	case "write-back":
		t.WriteBack, err = strconv.ParseBool(value)
	case "seed":
		t.Seed, err = strconv.ParseUint(value, 10, 64)
	case "site":
		if t.Site = PruneSite(value); t.Site == WholeSite {
			t.Site = "" // as in policies that do not say
		}
	default:
		return fmt.Errorf("tokencache has no parameter %q: want steps, k, k1, k2, boundary, warmup, i, half, ratio, selection, cell, importance, keys, cached, order, learned, write-back, seed or site", key)
	}
	if err != nil {
		return fmt.Errorf("tokencache: %s=%s: not a value of that parameter", key, value)
	}
	return nil
}

// Validate reports parameters that have no meaning.
func (t *TokenCache) Validate() error {
	switch {
	case t.Importance != Random && t.Importance != UpdateNorm && t.Importance != Static && t.Importance != Dynamic:
		return fmt.Errorf("unknown importance %q: want %s, %s, %s or %s", t.Importance, Random, UpdateNorm, Static, Dynamic)
	case t.Keys != KeptKeys && t.Keys != CachedKeys && t.Keys != FreshKeys:
		return fmt.Errorf("unknown keys %q: want %s, %s or %s", t.Keys, KeptKeys, CachedKeys, FreshKeys)
	case t.Cached != Update && t.Cached != Output:
		return fmt.Errorf("unknown cache %q: want %s or %s", t.Cached, Update, Output)
	case t.Site != "" && t.Site != WholeSite && t.Site != BodySite:
		return fmt.Errorf("unknown site %q: want %s or %s", t.Site, WholeSite, BodySite)
	case t.Site == BodySite && (t.Learned || t.needsPredictor()):
		return fmt.Errorf("site=%s goes with importance %s or %s and without learned forecasts: what calibrate learns is of whole blocks", BodySite, Random, UpdateNorm)
	case t.Order < 0 || t.Order > mostOrder:
		return fmt.Errorf("forecast of order %d: want 0 to %d", t.Order, mostOrder)
	case t.Learned && !t.stacked():
		return errors.New("a learned forecast goes with ratio=0 and cached=update: P-steps that compute nothing")
	case len(t.Steps.Half) > 0 && !t.Learned:
		return errors.New("half steps go with a learned forecast, of what guidance's halves differ by: learned=true")
	case t.Learned && t.Forecast == nil:
		return errors.New("a learned forecast needs its weights: make them with calibrate, and give its folder as the policy")
	case t.needsPredictor() && t.Predictor == nil:
		return fmt.Errorf("importance %s needs a trained predictor: make one with calibrate, and give its folder as the policy", t.Importance)
	}
	return nil
}

// needsPredictor reports whether a predictor chooses tokens; none does if P-steps compute nothing or everything.
func (t *TokenCache) needsPredictor() bool {
	return (t.Importance == Static || t.Importance == Dynamic) && t.Ratio > 0 && t.Ratio < 1
}

// NewRun implements Policy.
func (t *TokenCache) NewRun(g *tensor.Graph, m *dit.Model, plan Plan, samples int, limit int64) (Run, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	full, err := t.Steps.resolve(plan.Steps())
	if err != nil {
		return nil, err
	}
	if t.Site == BodySite && !m.HasSkip(len(m.Blocks)-1) {
		whole := *t
		whole.Site = WholeSite
		t = &whole
	}
	half, err := t.Steps.halves(plan.Steps(), full)
	if err != nil {
		return nil, err
	}
	if t.stacked() {
		return t.newStackRun(g, m, full, half, samples, limit)
	}
	n, blocks := m.Tokens(), len(m.Blocks)
	keep, err := newKeepers(t.Selection, t.Ratio, t.Cell, blocks, n)
	if err != nil {
		return nil, err
	}
	r := &tokenRun{policy: t, g: g, model: m, full: full, tokens: n, samples: samples}
	bytes := historyBytes(blocks, samples*n, m.Hidden, t.Order)
	if r.keyed() {
		bytes += dit.KeyStoreBytes(blocks, samples, n, m.Hidden)
	}
	if err := checkMemory("tokencache", bytes, samples, limit); err != nil {
		return nil, err
	}
	r.stats.CacheBytes = bytes
	r.history = newHistory(blocks, samples*n, m.Hidden, t.Order)
	if t.needsPredictor() {
		if r.predict, err = t.Predictor.newRun(g, m); err != nil {
			return nil, err
		}
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
	model   *dit.Model
	full    []bool    // of each position: an I-step
	keepers []keepers // of each sample, as each has its own scratch
	history *history
	keys    *dit.KeyStore
	predict *predictorRun // nil unless the importance is a predictor's
	tokens  int           // of a sample
	samples int           // at most
	stats   Stats

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

// keyed reports whether a store of keys is needed.
func (r *tokenRun) keyed() bool {
	return r.policy.Keys == CachedKeys && r.policy.Ratio > 0 && r.policy.Ratio < 1
}

// Begin implements Run.
func (r *tokenRun) Begin(b *dit.Batch, positions []int) {
	if len(positions) > r.samples {
		panic(fmt.Sprintf("reuse: a batch of %d samples, the run is for %d", len(positions), r.samples))
	}
	r.positions = positions
	if r.keyed() && (r.keys == nil || r.keys.Samples() != len(positions)) {
		r.keys = dit.NewKeyStore(len(r.model.Blocks), len(positions), r.tokens, r.model.Hidden)
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
		r.predict.begin(b)
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
func (r *tokenRun) prunes(at dit.Site) bool {
	if r.policy.Site == BodySite && r.model.HasSkip(at.Block) {
		return at.Part == dit.Body
	}
	return at.Part == dit.Whole
}

// WholeBlocks implements dit.WholeBlocks.
func (r *tokenRun) WholeBlocks() bool { return r.policy.Site != BodySite }

// Apply implements dit.Reuse.
func (r *tokenRun) Apply(at dit.Site, x *dit.Tokens, f func(*dit.Tokens) *dit.Tokens) *dit.Tokens {
	if !r.prunes(at) {
		return f(x)
	}
	r.block, r.x = at.Block, x.X
	r.chooseRows(at.Block)
	r.stats.Tokens += int64(x.X.Rows)
	r.stats.TokensDone += int64(len(r.index))
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
	if r.keyed() {
		computed = computed.With(computed.X)
		computed.Keys = r.keys
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
func (r *tokenRun) Stats() Stats { return r.stats }
