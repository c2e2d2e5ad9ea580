package reuse

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// ToCa caches the outputs of attention and MLP and, on partial steps, computes the MLP anew for the tokens that matter most ("Accelerating Diffusion Transformers with
// Token-wise Feature Caching", arXiv 2410.05317), and DuCa alternates such steps with ones that skip all blocks ("Accelerating Diffusion Transformers with Dual Feature
// Caching", arXiv 2412.18911).
//
// With steps s counted down from T-1 to 0 a block computes everything at T-1 and where s is a multiple of a threshold, which moves with s: N / (1.4 - 0.8·s/T), rounded, and 2
// for s from 0.2·T up to 0.4·T. It is the first block that sets the threshold, when it computes everything, so that the others of that step may decide otherwise.
//
// On a partial step the tokens are those of the highest score: what a token was given by all queries in the block's last attention, normalised over the tokens, plus
// a quarter of its age over N; in each 2x2 cell the best token gains Bonus of its score.
type ToCa struct {
	N         int     `policy:"n"`
	Ratio     float64 `policy:"ratio"`
	Scheduler string  `policy:"scheduler"` // of the ratio: constant, ddim50 or ddpm250, as the methods' code has them
	Bonus     float64 `policy:"bonus"`
	Duca      bool
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

// Set changes one parameter.
func (p *ToCa) Set(key, value string) error { return setParam(p.name(), p, key, value) }

// Validate reports parameters that have no meaning.
func (p *ToCa) Validate() error {
	switch {
	case p.N < 1:
		return fmt.Errorf("n=%d: want 1 or more", p.N)
	case !(p.Ratio >= 0 && p.Ratio <= 1):
		return fmt.Errorf("ratio=%g: want 0 to 1", p.Ratio)
	case p.Scheduler != ConstantRatio && p.Scheduler != DDIM50Ratio && p.Scheduler != DDPM250Ratio:
		return fmt.Errorf("scheduler=%s: want %s, %s or %s", p.Scheduler, ConstantRatio, DDIM50Ratio, DDPM250Ratio)
	case !(p.Bonus >= 0):
		return fmt.Errorf("bonus=%g: want 0 or more", p.Bonus)
	}
	return nil
}

// threshold returns the distance of full steps that the first block sets at step s of steps.
func (p *ToCa) threshold(s, steps int) int {
	if p.Ratio == 0 {
		return p.N
	}
	if s >= int(0.2*float64(steps)) && s < int(0.4*float64(steps)) {
		return 2
	}
	weight := float32(1.4 - 0.8*float64(s)/float64(steps))
	return max(1, int(math.RoundToEven(float64(float32(p.N)/weight))))
}

// kept returns how many of n tokens a partial step computes in a block.
func (p *ToCa) kept(s, steps, block, blocks, n int) int {
	ratio := p.Ratio
	at, depth := float64(s)/float64(steps), float64(block)/float64(max(blocks-1, 1))
	switch p.Scheduler {
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

// CacheBytes implements Policy.
func (p *ToCa) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	m := model.Shape()
	rows := int64(samples) * int64(m.Tokens)
	bytes := 4 * int64(m.Blocks) * 2 * rows * int64(m.Width+1)
	if p.Duca {
		bytes += 4 * rows * int64(m.Width)
	}
	return bytes, p.Validate()
}

// NewRun implements Policy.
func (p *ToCa) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	m := model.Shape()
	n, blocks, heads := m.Tokens, m.Blocks, m.Heads
	rows := samples * n
	r := &tocaRun{policy: p, tokens: n, width: m.Width, heads: heads, steps: plan.Steps(), blocks: blocks, side: int(math.Sqrt(float64(n)))}
	for range blocks {
		r.attention = append(r.attention, tensor.FromSlice(make([]float32, rows*m.Width), rows, m.Width))
		r.mlp = append(r.mlp, tensor.FromSlice(make([]float32, rows*m.Width), rows, m.Width))
		r.given, r.age = append(r.given, make([]float32, rows)), append(r.age, make([]float32, rows))
	}
	if p.Duca {
		r.last = tensor.FromSlice(make([]float32, rows*m.Width), rows, m.Width)
	}
	r.distance, r.kind = make([]int, samples), make([]blockKind, samples)
	r.score, r.order = make([]float32, n), make([]int32, n)
	r.index = make([]int32, 0, rows)
	return r, nil
}

// tocaRun is the state of a ToCa.
type tocaRun struct {
	policy               *ToCa
	g                    *tensor.Graph
	tokens, width, heads int
	side, steps, blocks  int
	stats                Cost

	attention, mlp []*tensor.Tensor // the branches' last outputs, of each block [rows, D]
	given          [][]float32      // of each block and row: what the token was given by all queries, normalised
	age            [][]float32      // of each block and row: partial steps since its MLP was computed
	last           *tensor.Tensor   // DuCa: after the last block
	distance       []int            // of each sample: the threshold

	positions []int
	kind      []blockKind // of each sample, in the block that runs
	score     []float32
	order     []int32
	index     []int32
}

// Begin implements Run.
func (r *tocaRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	for _, p := range positions {
		if p == 0 {
			r.stats.ISteps++
		} else {
			r.stats.PSteps++
		}
	}
}

// decide sets what a block does for each sample.
func (r *tocaRun) decide(block int) {
	for i, p := range r.positions {
		s := r.steps - 1 - p
		switch {
		case p == 0 || s%r.distance[i] == 0:
			r.kind[i] = fullBlock
			if block == 0 {
				r.distance[i] = r.policy.threshold(s, r.steps)
			}
		case r.policy.Duca && (s%r.distance[i])%2 == 0:
			r.kind[i] = skippedBlock
		default:
			r.kind[i] = partialBlock
		}
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
				r.settleScore(block, s, full.ColSums.Row(s))
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

// settleScore takes in what each token of a sample was given, the sums over queries of each head's softmax.
func (r *tocaRun) settleScore(block, s int, sums []float32) {
	given := r.given[block][s*r.tokens : (s+1)*r.tokens]
	squares := 0.0
	for i := range given {
		sum := float32(0)
		for h := range r.heads {
			sum += sums[h*r.tokens+i]
		}
		given[i] = sum / float32(r.heads)
		squares += float64(given[i]) * float64(given[i])
	}
	norm := float32(max(math.Sqrt(squares), 1e-12))
	for i := range given {
		given[i] /= norm
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
	k := r.policy.kept(r.steps-1-p, r.steps, block, r.blocks, r.tokens)
	given, age := r.given[block][s*r.tokens:], r.age[block][s*r.tokens:]
	for i := range r.score {
		r.score[i] = given[i] + float32(ageWeight)*age[i]/float32(r.policy.N)
		r.order[i] = int32(i)
	}
	if r.side*r.side == r.tokens && r.side%2 == 0 {
		for y := 0; y < r.side; y += 2 {
			for x := 0; x < r.side; x += 2 {
				best := y*r.side + x
				for _, i := range [3]int{best + 1, best + r.side, best + r.side + 1} {
					if r.score[i] > r.score[best] {
						best = i
					}
				}
				r.score[best] += float32(r.policy.Bonus) * r.score[best]
			}
		}
	}
	slices.SortFunc(r.order, func(a, b int32) int { return cmp.Or(cmp.Compare(r.score[b], r.score[a]), cmp.Compare(a, b)) })
	chosen := r.order[:k]
	slices.Sort(chosen)
	return chosen
}

// Reset implements Run: the first step computes everything, so nothing of before is used.
func (r *tocaRun) Reset() { clear(r.distance) }

// Stats implements Run.
func (r *tocaRun) Stats() Cost { return r.stats }
