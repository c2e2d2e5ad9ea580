package reuse

import (
	"cmp"
	"math"
	"slices"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// ToCa caches the outputs of attention and MLP. On partial steps it reuses attention and computes
// the MLP for the most important tokens ("Accelerating Diffusion Transformers with Token-wise
// Feature Caching", arXiv 2410.05317). DuCa alternates such steps with ones that skip all blocks
// ("Accelerating Diffusion Transformers with Dual Feature Caching", arXiv 2412.18911).
//
// With steps s counted down from T-1 to 0, a block computes everything at T-1 and where s is a
// multiple of an interval. The interval moves with s: N / (1.4 - 0.8·s/T), rounded, and 2 for s
// from 0.2·T up to 0.4·T. Only block 0 updates the interval, when it computes everything, so later
// blocks of the same step may see the new one.
//
// On a partial step the tokens are those of the highest score: the attention that a token received
// from all queries when the block's attention was computed last, normalised over the tokens, plus a
// quarter of its age over N. In each 2x2 cell the best token gains Bonus of its score. They are
// chosen among the image's; where any is computed, those of a text are.
type ToCa struct {
	N         int     `policy:"n" min:"1" help:"interval of full steps, which then varies over the steps"`
	Ratio     float64 `policy:"ratio" min:"0" max:"1" help:"share of tokens whose MLP a partial step computes"`
	Scheduler string  `policy:"scheduler" values:"constant|ddim50|ddpm250" help:"how the ratio varies over the steps"`
	Bonus     float64 `policy:"bonus" min:"0" help:"share by which the score of the best token of each 2x2 cell is raised"`
	Duca      bool
}

// NewToCa returns a ToCa with its defaults.
func NewToCa() *ToCa { return &ToCa{N: 3, Ratio: 0.25, Scheduler: ConstantRatio, Bonus: 0.6} }

// NewDuCa returns a DuCa with its defaults.
func NewDuCa() *ToCa {
	return &ToCa{N: 3, Ratio: 0.25, Scheduler: ConstantRatio, Bonus: 0.8, Duca: true}
}

// Schedulers of ToCa's ratio.
const (
	ConstantRatio = "constant"
	DDIM50Ratio   = "ddim50"
	DDPM250Ratio  = "ddpm250"
)

const ageWeight = 0.25

func (p *ToCa) name() string {
	if p.Duca {
		return "duca"
	}
	return "toca"
}

// String returns the policy as Parse takes it.
func (p *ToCa) String() string { return paramText(p.name(), p) }

// idle implements idler.
func (p *ToCa) idle() []string { return idleOfRatio(p.Ratio) }

// idleOfRatio returns what has no effect where partial steps compute no token.
func idleOfRatio(ratio float64) []string {
	if ratio == 0 {
		return []string{"scheduler", "bonus"}
	}
	return nil
}

// Set changes one parameter.
func (p *ToCa) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *ToCa) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *ToCa) Kind() Kind { return Caches }

// Granularity implements Described.
func (p *ToCa) Granularity() Granularity { return ByToken }

// interval returns the interval of full steps that block 0 sets at step s of steps.
func (p *ToCa) interval(s, steps int) int {
	if p.Ratio == 0 {
		return p.N
	}
	if s >= int(0.2*float64(steps)) && s < int(0.4*float64(steps)) {
		return 2
	}
	weight := float32(1.4 - 0.8*float64(s)/float64(steps))
	return max(1, int(math.RoundToEven(float64(float32(p.N)/weight))))
}

// rules returns what the policy's runs go by.
func (p *ToCa) rules(steps int) tocaRules {
	return tocaRules{
		kind: func(block, position int, interval *int) blockKind {
			return p.decide(block, position, steps, interval)
		},
		full:      func(position int) bool { return position == 0 },
		ratio:     p.Ratio,
		scheduler: p.Scheduler,
		bonus:     float32(p.Bonus),
		period:    float32(p.N),
		skips:     p.Duca,
	}
}

// tocaRules is what sets methods apart whose steps are full, partial or skipped.
type tocaRules struct {
	// kind returns what a block does at a position; block 0 may set the interval of full steps.
	kind func(block, position int, interval *int) blockKind
	full func(position int) bool // a position counts as an I-step

	ratio     float64 // share of tokens whose MLP a partial step computes
	scheduler string  // how it varies over the steps
	bonus     float32 // of the best token of each cell
	period    float32 // partial steps for which a token's age counts ageWeight
	skips     bool    // there may be skipped steps
}

// kept returns how many of the n tokens of an image a partial step computes in a block.
func (p *tocaRules) kept(s, steps, block, blocks, n int) int {
	ratio := p.ratio
	at, depth := float64(s)/float64(steps), float64(block)/float64(max(blocks-1, 1))
	switch p.scheduler {
	case DDIM50Ratio:
		ratio *= (3 - 4*at) * (0.8 + 0.4*depth) * 2.5
	case DDPM250Ratio:
		ratio *= (1.4 - 0.8*at) * (1.8 - 1.6*depth) * 2.5
	}
	return int(float32(min(max(ratio, 0), 1)) * float32(n))
}

// blockKind is what a block does for a sample at a step.
type blockKind uint8

const (
	fullBlock    blockKind = iota
	partialBlock           // attention is reused, the MLP computed for some tokens
	skippedBlock           // nothing: after the last block comes its last output
)

// decide returns what a block does at a position, and sets the interval if it is block 0 and full.
func (p *ToCa) decide(block, position, steps int, interval *int) blockKind {
	s := steps - 1 - position
	switch {
	case position == 0 || s%*interval == 0:
		if block == 0 {
			*interval = p.interval(s, steps)
		}
		return fullBlock
	case p.Duca && (s%*interval)%2 == 0:
		return skippedBlock
	}
	return partialBlock
}

// CacheBytes implements Policy.
func (p *ToCa) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	return tocaBytes(model.Shape(), samples, p.Duca), named(p.name(), p.Validate())
}

// tocaBytes returns the memory of newTocaRun.
func tocaBytes(m *seam.Shape, samples int, skips bool) int64 {
	rows := int64(samples) * int64(m.Tokens)
	bytes := 4 * int64(m.Blocks) * 2 * rows * int64(m.Width+1)
	if skips {
		bytes += 4 * rows * int64(m.Width)
	}
	return bytes
}

// Shares implements Scheduled.
func (p *ToCa) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, named(p.name(), err)
	}
	rules := p.rules(plan.Steps())
	return rules.shares(m, plan), nil
}

// shares returns the Shares of a method with these rules.
func (p *tocaRules) shares(m *seam.Shape, plan Plan) []float64 {
	steps, interval := plan.Steps(), 0
	return sharesBy(plan, func(position int) float64 {
		rows := 0 // of attention and MLP
		for block := range m.Blocks {
			switch p.kind(block, position, &interval) {
			case fullBlock:
				rows += 2 * m.Tokens
			case partialBlock:
				if kept := p.kept(steps-1-position, steps, block, m.Blocks, m.Image()); kept > 0 {
					rows += kept + m.Text
				}
			}
		}
		return float64(rows) / float64(2*m.Tokens*m.Blocks)
	})
}

// NewRun implements Policy.
func (p *ToCa) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named(p.name(), err)
	}
	return newTocaRun(p.rules(plan.Steps()), model.Shape(), plan, samples), nil
}

// newTocaRun returns a run that goes by rules.
func newTocaRun(rules tocaRules, m *seam.Shape, plan Plan, samples int) *tocaRun {
	n, rows := m.Tokens, samples*m.Tokens
	r := &tocaRun{
		rules:    rules,
		tokens:   n,
		width:    m.Width,
		heads:    m.Heads,
		text:     m.Text,
		gridRows: m.GridRows,
		gridCols: m.GridCols,
		steps:    plan.Steps(),
		blocks:   m.Blocks,
		interval: make([]int, samples),
		kind:     make([]blockKind, samples),
		score:    make([]float32, m.Image()),
		order:    make([]int32, m.Image()),
		chosen:   make([]int32, 0, n),
		index:    make([]int32, 0, rows),
	}
	for range m.Blocks {
		r.attention, r.mlp = append(r.attention, newRows(rows, m.Width)), append(r.mlp, newRows(rows, m.Width))
		r.received, r.age = append(r.received, make([]float32, rows)), append(r.age, make([]float32, rows))
	}
	if rules.skips {
		r.last = newRows(rows, m.Width)
	}
	return r
}

// tocaRun is the state of a ToCa, or of another method with such steps.
type tocaRun struct {
	rules                tocaRules
	g                    *tensor.Graph
	tokens, width, heads int
	text                 int // of tokens, the first ones
	gridRows, gridCols   int
	steps, blocks        int
	stats                Cost

	attention, mlp []*tensor.Tensor // the branches' last outputs, of each block [rows, D]
	received       [][]float32      // of each block and row: attention received, normalised
	age            [][]float32      // of each block and row: partial steps since its MLP was computed
	last           *tensor.Tensor   // DuCa: after the last block
	interval       []int            // of each sample: the interval of full steps

	positions []int
	kind      []blockKind // of each sample, in the block that runs
	score     []float32   // of a sample's image tokens
	order     []int32     // likewise
	chosen    []int32
	index     []int32
}

// Begin implements Run.
func (r *tocaRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	for _, p := range positions {
		if r.rules.full(p) {
			r.stats.ISteps++
		} else {
			r.stats.PSteps++
		}
	}
}

// decide sets what a block does for each sample.
func (r *tocaRun) decide(block int) {
	for i, p := range r.positions {
		r.kind[i] = r.rules.kind(block, p, &r.interval[i])
	}
}

// Sites implements seam.Reuse.
func (r *tocaRun) Sites() seam.Sites { return seam.SitesOf(seam.Block, seam.Attention, seam.MLP) }

// Apply implements seam.Reuse.
func (r *tocaRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	switch at.Part {
	case seam.Block:
		r.decide(at.Block)
		return r.whole(at.Block, x, f)
	case seam.Attention:
		return r.attend(at.Block, x, f)
	default:
		return r.process(at.Block, x, f)
	}
}

// whole runs a block for the samples that do not skip it.
func (r *tocaRun) whole(block int, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.index = r.index[:0]
	for s, kind := range r.kind[:len(r.positions)] {
		for i := range r.tokens {
			if kind != skippedBlock {
				r.index = append(r.index, int32(s*r.tokens+i))
			}
		}
	}
	r.stats.Rows += 2 * int64(x.X.Rows)
	y := x
	switch {
	case len(r.index) == x.X.Rows:
		y = f(x)
	case len(r.index) > 0:
		index := r.g.Ints(len(r.index)) // the branches use r.index
		copy(index, r.index)
		r.g.Scatter(x.X, index, f(x.Gather(r.g, index)).X)
	}
	if r.last != nil && block == r.blocks-1 {
		for s, kind := range r.kind[:len(r.positions)] {
			from, to := s*r.tokens, (s+1)*r.tokens
			for row := from; row < to; row++ {
				if kind == skippedBlock {
					copy(y.X.Row(row), r.last.Row(row))
				} else {
					copy(r.last.Row(row), y.X.Row(row))
				}
			}
		}
	}
	return y
}

// row returns the row in the caches of row i of x, which may be gathered.
func (r *tocaRun) row(x *seam.Tokens, i int) int {
	return int(x.Rows.Sample[i])*r.tokens + int(x.Pos[i])
}

// attend computes attention for the samples whose block is full.
func (r *tocaRun) attend(block int, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	index := r.index[:0]
	for i := range x.X.Rows {
		if r.kind[x.Rows.Sample[i]] == fullBlock {
			index = append(index, int32(i))
		}
	}
	cache := r.attention[block]
	if len(index) > 0 {
		full := x
		if len(index) < x.X.Rows {
			full = x.Gather(r.g, index)
		} else {
			full = x.With(x.X)
		}
		full.ColSums = r.g.New(x.Rows.Samples(), r.heads*r.tokens)
		fresh := f(full)
		for i := range fresh.X.Rows {
			copy(cache.Row(r.row(full, i)), fresh.X.Row(i))
		}
		for s, kind := range r.kind[:len(r.positions)] {
			if kind == fullBlock {
				r.receive(block, s, full.ColSums.Row(s))
			}
		}
		r.stats.ComputedRows += int64(len(index))
	}
	return x.With(r.rowsOf(x, cache))
}

// rowsOf returns the rows of a cache that belong to x.
func (r *tocaRun) rowsOf(x *seam.Tokens, cache *tensor.Tensor) *tensor.Tensor {
	out := r.g.New(x.X.Rows, r.width)
	for i := range out.Rows {
		copy(out.Row(i), cache.Row(r.row(x, i)))
	}
	return out
}

// receive takes in the attention that each token of a sample received, the sums over queries of
// each head's softmax.
func (r *tocaRun) receive(block, s int, sums []float32) {
	received := r.received[block][s*r.tokens : (s+1)*r.tokens]
	squares := 0.0
	for i := r.text; i < r.tokens; i++ {
		sum := float32(0)
		for h := range r.heads {
			sum += sums[h*r.tokens+i]
		}
		received[i] = sum / float32(r.heads)
		squares += float64(received[i]) * float64(received[i])
	}
	norm := float32(max(math.Sqrt(squares), 1e-12))
	for i := range received {
		received[i] /= norm
	}
}

// process computes the MLP for all tokens of full samples and for the best of partial ones.
func (r *tocaRun) process(block int, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	index := r.index[:0]
	for s, kind := range r.kind[:len(r.positions)] {
		from, to := x.Rows.Start[s], x.Rows.Start[s+1]
		if from == to {
			continue
		}
		age := r.age[block][s*r.tokens : (s+1)*r.tokens]
		if kind == fullBlock {
			clear(age)
			for i := from; i < to; i++ {
				index = append(index, int32(i))
			}
			continue
		}
		chosen := r.choose(block, s)
		for i := range age {
			age[i]++
		}
		for _, i := range chosen {
			age[i] = 0
			index = append(index, int32(from)+i) // whole samples: row from+i is token i
		}
	}
	cache := r.mlp[block]
	if len(index) > 0 {
		some := x
		if len(index) < x.X.Rows {
			some = x.Gather(r.g, index)
		}
		fresh := f(some)
		for i := range fresh.X.Rows {
			copy(cache.Row(r.row(some, i)), fresh.X.Row(i))
		}
		r.stats.ComputedRows += int64(len(index))
	}
	return x.With(r.rowsOf(x, cache))
}

// choose returns the tokens of a sample that a partial block computes, in rising order.
func (r *tocaRun) choose(block, s int) []int32 {
	p := r.positions[s]
	k := r.rules.kept(r.steps-1-p, r.steps, block, r.blocks, len(r.score))
	if k == 0 {
		return nil
	}
	first := s*r.tokens + r.text
	received, age := r.received[block][first:], r.age[block][first:]
	for i := range r.score {
		r.score[i] = received[i] + float32(ageWeight)*age[i]/r.rules.period
		r.order[i] = int32(i)
	}
	if r.gridRows%2 == 0 && r.gridCols%2 == 0 {
		for y := 0; y < r.gridRows; y += 2 {
			for x := 0; x < r.gridCols; x += 2 {
				best := y*r.gridCols + x
				for _, i := range [3]int{best + 1, best + r.gridCols, best + r.gridCols + 1} {
					if r.score[i] > r.score[best] {
						best = i
					}
				}
				r.score[best] += r.rules.bonus * r.score[best]
			}
		}
	}
	slices.SortFunc(r.order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(r.score[b], r.score[a]), cmp.Compare(a, b))
	})
	r.chosen = r.chosen[:0]
	for i := range r.text {
		r.chosen = append(r.chosen, int32(i))
	}
	for _, i := range r.order[:k] {
		r.chosen = append(r.chosen, i+int32(r.text))
	}
	slices.Sort(r.chosen)
	return r.chosen
}

// Reset implements Run: the first step computes everything, so nothing of before is used.
func (r *tocaRun) Reset() { clear(r.interval) }

// Stats implements Run.
func (r *tocaRun) Stats() Cost { return r.stats }
