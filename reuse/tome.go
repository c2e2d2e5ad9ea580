package reuse

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// ToMe merges tokens that resemble one another before a block's attention, and gives each the
// output of the merged one ("Token Merging for Fast Stable Diffusion", Bolya and Hoffman 2023,
// arXiv 2303.17604). It reuses nothing from step to step: it is a control for methods that do.
//
// In every 2x2 cell of the grid one token, chosen anew at every step, is a destination; the others
// are sources. Each source looks for the destination that it resembles most, by the cosine of the
// block's inputs. The share Ratio of all tokens, the sources that resemble theirs most, are merged:
// the destination becomes the mean of itself and of what was merged into it, and keeps its place in
// the grid. Afterwards the merged sources get a copy of the destination's output.
type ToMe struct {
	Ratio float64 `policy:"ratio" min:"0" max:"0.75" help:"share of the tokens that is merged away"`
	MLP   bool    `policy:"mlp" help:"whether the MLP gets merged tokens too"`
	Seed  int     `policy:"seed" help:"seed of the choice of destinations"`
}

// NewToMe returns a ToMe with its defaults.
func NewToMe() *ToMe { return &ToMe{Ratio: 0.5} }

// String returns the policy as Parse takes it.
func (p *ToMe) String() string { return paramText("tome", p) }

// Set changes one parameter.
func (p *ToMe) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *ToMe) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *ToMe) Kind() Kind { return Merges }

// Granularity implements Described.
func (p *ToMe) Granularity() Granularity { return ByToken }

// CacheBytes returns 0: nothing is kept from step to step.
func (p *ToMe) CacheBytes(m seam.Model, _ Plan, _ int) (int64, error) { return 0, p.check(m.Shape()) }

func (p *ToMe) check(m *seam.Shape) error {
	if err := p.Validate(); err != nil {
		return named("tome", err)
	}
	if m.GridRows != m.GridCols {
		return fmt.Errorf("tome: a grid of %d x %d tokens: want a square one", m.GridRows, m.GridCols)
	}
	return nil
}

// merged returns how many of the tokens of a grid are merged away: sources, at most all of them.
func (p *ToMe) merged(side int) int {
	cells := (side + 1) / 2 * ((side + 1) / 2)
	return min(int(p.Ratio*float64(side*side)), side*side-cells)
}

// Shares implements Scheduled.
func (p *ToMe) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.check(m); err != nil {
		return nil, err
	}
	left := 1 - float64(p.merged(m.GridRows))/float64(m.Tokens)
	return sharesBy(plan, func(int) float64 {
		if p.MLP {
			return left
		}
		return (left + 1) / 2
	}), nil
}

// NewRun implements Policy.
func (p *ToMe) NewRun(m seam.Model, _ Plan, samples int) (Run, error) {
	if err := p.check(m.Shape()); err != nil {
		return nil, err
	}
	n := m.Shape().Tokens
	r := &tomeRun{
		policy:   p,
		tokens:   n,
		side:     m.Shape().GridRows,
		text:     m.Shape().Text,
		norm:     make([]float32, samples*n),
		best:     make([]int32, samples*n),
		likeness: make([]float32, samples*n),
		order:    make([]int32, 0, n),
		index:    make([]int32, 0, samples*n),
		merged:   make([]int32, samples*n),
	}
	for range samples {
		r.of = append(r.of, &matching{into: make([]int32, n)})
	}
	r.normRow, r.matchRow = r.measure, r.match
	return r, nil
}

// tomeRun is the state of a ToMe.
type tomeRun struct {
	policy       *ToMe
	g            *tensor.Graph
	tokens, side int
	text         int // of tokens, the first ones: they are not merged
	stats        Cost

	of []*matching // of each sample

	// The block that runs.
	x        *tensor.Tensor
	norm     []float32 // of each row
	best     []int32   // of each source's row: the destination, a token, that it resembles most
	likeness []float32 // and how much
	order    []int32
	index    []int32 // the rows that are left
	merged   []int32 // of each row: its place in index, or that of what it was merged into

	normRow, matchRow func(row int)
}

// matching is which tokens of a sample are merged.
type matching struct {
	position     int
	destinations []int32
	sources      []int32
	into         []int32 // of each token: the destination that it is merged into, or itself
}

// Begin implements Run.
func (r *tomeRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.g = g
	for s, p := range positions {
		m := r.of[s]
		if m.destinations == nil || m.position != p {
			r.choose(m, p)
		}
	}
	if r.policy.Ratio > 0 {
		r.stats.PSteps += len(positions)
	} else {
		r.stats.ISteps += len(positions)
	}
}

// choose chooses a destination in every cell, of 2x2 tokens or, at the edges of a grid of odd side,
// of fewer: the same at a position in every sample.
func (r *tomeRun) choose(m *matching, position int) {
	m.position, m.destinations, m.sources = position, m.destinations[:0], m.sources[:0]
	random := rand.New(rand.NewPCG(uint64(r.policy.Seed), uint64(position)))
	is := make([]bool, r.tokens)
	for y := 0; y < r.side; y += 2 {
		for x := 0; x < r.side; x += 2 {
			dy, dx := random.IntN(min(2, r.side-y)), random.IntN(min(2, r.side-x))
			is[r.text+(y+dy)*r.side+x+dx] = true
		}
	}
	for i, destination := range is {
		if i < r.text {
			continue
		}
		if destination {
			m.destinations = append(m.destinations, int32(i))
		} else {
			m.sources = append(m.sources, int32(i))
		}
	}
}

// Sites implements seam.Reuse.
func (r *tomeRun) Sites() seam.Sites { return seam.SitesOf(seam.Attention, seam.MLP) }

// Apply implements seam.Reuse.
func (r *tomeRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	switch {
	case at.Part == seam.Attention:
		r.mergeTokens(x.X)
		return r.run(x, f)
	case r.policy.MLP:
		return r.run(x, f)
	}
	r.count(x.X.Rows, x.X.Rows)
	return f(x)
}

// count adds what one of a block's branches computed.
func (r *tomeRun) count(done, of int) {
	r.stats.Rows += int64(of)
	r.stats.ComputedRows += int64(done)
}

// run computes a branch for merged tokens.
func (r *tomeRun) run(x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	rows := x.X.Rows
	r.count(len(r.index), rows)
	if len(r.index) == rows {
		return f(x)
	}
	less := x.Gather(r.g, r.index)
	r.average(less.X, x.X)
	y := f(less)
	out := r.g.New(rows, y.X.Cols)
	r.g.EachRow(rows, y.X.Cols, func(row int) { copy(out.Row(row), y.X.Row(int(r.merged[row]))) })
	return x.With(out)
}

// average makes every destination in less the mean of itself and of what is merged into it.
func (r *tomeRun) average(less, x *tensor.Tensor) {
	counts := r.g.Ints(less.Rows)
	clear(counts)
	for _, to := range r.merged[:x.Rows] {
		counts[to]++
	}
	for row, to := range r.merged[:x.Rows] {
		if int(r.index[to]) != row {
			kernel.Add(less.Row(int(to)), less.Row(int(to)), x.Row(row))
		}
	}
	for i, n := range counts {
		if n > 1 {
			kernel.Scale(less.Row(i), less.Row(i), 1/float32(n))
		}
	}
}

// mergeTokens finds which rows are left of x, a block's input, and which of them stands for each
// row.
func (r *tomeRun) mergeTokens(x *tensor.Tensor) {
	r.index = r.index[:0]
	n, count := r.tokens, r.policy.merged(r.side)
	samples := x.Rows / n
	if count > 0 {
		r.x = x
		r.g.EachRow(x.Rows, x.Cols, r.normRow)
		r.g.EachRow(x.Rows, x.Cols*len(r.of[0].destinations), r.matchRow)
	}
	for s := range samples {
		m, first := r.of[s], s*n
		for i := range m.into {
			m.into[i] = int32(i)
		}
		r.order = append(r.order[:0], m.sources...)
		likeness := r.likeness[first : first+n]
		slices.SortFunc(r.order, func(a, b int32) int {
			return cmp.Or(cmp.Compare(likeness[b], likeness[a]), cmp.Compare(a, b))
		})
		for _, i := range r.order[:count] {
			m.into[i] = r.best[first+int(i)]
		}
		for i, to := range m.into {
			if int(to) == i {
				r.merged[first+i] = int32(len(r.index))
				r.index = append(r.index, int32(first+i))
			}
		}
		for i, to := range m.into {
			r.merged[first+i] = r.merged[first+int(to)]
		}
	}
}

func (r *tomeRun) measure(row int) {
	r.norm[row] = float32(math.Sqrt(float64(kernel.SumSquares(r.x.Row(row))))) + 1e-12
}

// match finds the destination that a source resembles most; of equal ones the first.
func (r *tomeRun) match(row int) {
	s, i := row/r.tokens, int32(row%r.tokens)
	m := r.of[s]
	if _, source := slices.BinarySearch(m.sources, i); !source {
		return
	}
	best, likeness := int32(-1), float32(0)
	for _, d := range m.destinations {
		other := s*r.tokens + int(d)
		if c := kernel.Dot(r.x.Row(row), r.x.Row(other)) / (r.norm[row] * r.norm[other]); best < 0 || c > likeness {
			best, likeness = d, c
		}
	}
	r.best[row], r.likeness[row] = best, likeness
}

// Reset implements Run: nothing is kept.
func (r *tomeRun) Reset() {}

// Stats implements Run.
func (r *tomeRun) Stats() Cost { return r.stats }
