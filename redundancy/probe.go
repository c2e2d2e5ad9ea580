package redundancy

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Ranking is what the tokens of a block are ranked by, for each sample at each P-step.
type Ranking string

const (
	// ByError is the oracle: the squared error of a token's forecast, which only computing it
	// tells.
	ByError Ranking = "error"
	// ByLastError is that of the forecast that the token would have had when it was computed last.
	ByLastError Ranking = "last-error"
	// ByNorm is the square of how much the token's update has changed since it was computed last,
	// if it goes on as between the last two times.
	ByNorm Ranking = "update-norm"
	// ByChance is a random order.
	ByChance Ranking = "random"
)

// Rankings are all of them, the oracle first.
func Rankings() []Ranking { return []Ranking{ByError, ByLastError, ByNorm, ByChance} }

// probe is the policy by which forecasts are examined. Each block's update of a token is forecast
// by Newton's polynomial through the last order+1 times that it was computed. P-steps know what the
// block would have added: it runs on all tokens, so that the keys and values are exact. Then
//
//   - with a tally, everything stays as computed, the errors of the forecasts are tallied, and only
//     I-steps enter forecasts;
//   - otherwise the first tokens of the ranking, a share of each block's, and those of a text, which
//     are not ranked, stay as computed, which enters their forecasts, and the others get their
//     forecast. Guidance's two halves of an image keep the same tokens, those of the largest sums
//     over both, as guidance amplifies what differs between them. With a share of 0 P-steps compute
//     nothing.
//
// All samples of a pass are at the same step.
type probe struct {
	full  []bool // of each position: an I-step
	order int
	share float64
	rank  Ranking
	tally *tally
}

// String implements reuse.Policy.
func (p *probe) String() string { return fmt.Sprintf("probe of order %d by %s", p.order, p.rank) }

// WholeBatch implements reuse.WholeBatcher.
func (p *probe) WholeBatch() bool { return true }

// CacheBytes implements reuse.Policy.
func (p *probe) CacheBytes(m seam.Model, _ reuse.Plan, samples int) (int64, error) {
	s := m.Shape()
	return probeBytes(s.Blocks, samples*s.Tokens, s.Width, p.order), nil
}

// probeBytes is the memory of a run for a number of rows.
func probeBytes(blocks, rows, width, order int) int64 {
	return 4 * int64(rows) * int64(width*(blocks*(order+1)+3)+blocks*(order+4)+2)
}

// NewRun implements reuse.Policy.
func (p *probe) NewRun(m seam.Model, plan reuse.Plan, samples int) (reuse.Run, error) {
	if len(p.full) != plan.Steps() || !p.full[0] {
		return nil, fmt.Errorf("a probe of %d steps for a plan of %d: want as many, the first an I-step",
			len(p.full), plan.Steps())
	}
	s := m.Shape()
	rows := samples * s.Tokens
	r := &probeRun{
		probe:  p,
		shape:  s,
		before: make([]float32, rows*s.Width),
		work:   make([]float32, rows*s.Width),
		whole:  make([]float32, rows*s.Width),
		square: make([]float32, rows),
		kept:   make([]bool, rows),
		index:  make([]int32, s.Image()),
		value:  make([]float32, s.Tokens),
		both:   make([]float32, s.Image()),
	}
	for range s.Blocks {
		r.past = append(r.past, make([]float32, rows*(p.order+1)*s.Width))
		r.at = append(r.at, make([]int32, rows*(p.order+1)))
		r.times = append(r.times, make([]int32, rows))
		r.lastError = append(r.lastError, make([]float32, rows))
		r.change = append(r.change, make([]float32, rows))
	}
	return r, nil
}

// probeRun is the state of a probe.
type probeRun struct {
	*probe
	shape *seam.Shape

	// Of each block and row: the updates at the times when they were computed, and their positions,
	// [rows, order+1, D] and [rows, order+1], which are rings, and how many times there were.
	past  [][]float32
	at    [][]int32
	times [][]int32
	// Of each block and row: ByLastError, and ByNorm for an age of one step.
	lastError [][]float32
	change    [][]float32

	g        *tensor.Graph
	position int
	samples  int
	cost     reuse.Cost

	unconditional []int // of the batch: see seam.Batch

	block  int
	y      *tensor.Tensor
	before []float32 // tokens before the block, [rows*D]
	work   []float32 // forecasts, likewise
	whole  []float32 // errors summed over the blocks so far, likewise
	square []float32 // squared error of each row
	kept   []bool    // of each row: it stays as computed
	index  []int32   // a sample's tokens in the order of the ranking
	value  []float32 // what they are ranked by, where that is nowhere else
	both   []float32 // its sum over guidance's halves
}

// Begin implements reuse.Run.
func (r *probeRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.position, r.samples, r.unconditional = g, positions[0], len(positions), b.Unconditional
	if r.full[r.position] {
		r.cost.ISteps += len(positions)
	} else {
		r.cost.PSteps += len(positions)
	}
	clear(r.whole)
}

// newton returns the weight of the value at position at[i] in the polynomial through the values at
// all of at, for its value at p.
func newton(at []int32, i, p int) float32 {
	weight := 1.0
	for j, q := range at {
		if j != i {
			weight *= float64(p-int(q)) / float64(at[i]-q)
		}
	}
	return float32(weight)
}

// Sites implements seam.Reuse.
func (r *probeRun) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *probeRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	rows, w := x.X.Rows, x.X.Cols
	r.block, r.y = at.Block, x.X
	if !r.full[r.position] && r.share == 0 && r.tally == nil {
		r.g.EachRow(rows, w, r.addForecast)
		return x
	}
	r.g.EachRow(rows, w, func(i int) { copy(row(r.before, i, w), x.X.Row(i)) })
	y := f(x)
	r.y = y.X
	if r.full[r.position] {
		r.g.EachRow(rows, w, r.record)
		return y
	}
	r.g.EachRow(rows, w, r.compare)
	if r.tally != nil {
		r.take()
		return y
	}
	r.choose()
	r.g.EachRow(rows, w, r.replace)
	return y
}

func row(values []float32, i, width int) []float32 { return values[i*width:][:width] }

// known returns the positions that a row's forecast goes through, in no order.
func (r *probeRun) known(i int) []int32 {
	n := r.order + 1
	return r.at[r.block][i*n:][:min(n, int(r.times[r.block][i]))]
}

// update returns what was computed of a row at the k-th of its known positions.
func (r *probeRun) update(i, k int) []float32 {
	return row(r.past[r.block], i*(r.order+1)+k, r.shape.Width)
}

// newest returns which of a row's known positions is the latest.
func (r *probeRun) newest(i int) int { return (int(r.times[r.block][i]) - 1) % (r.order + 1) }

// forecast sets dst to the forecast of a row's update.
func (r *probeRun) forecast(dst []float32, i int) {
	clear(dst)
	at := r.known(i)
	for k := range at {
		kernel.AXPY(dst, newton(at, k, r.position), r.update(i, k))
	}
}

// addForecast adds the forecast of a row's update to it.
func (r *probeRun) addForecast(i int) {
	to, work := r.y.Row(i), row(r.work, i, r.y.Cols)
	r.forecast(work, i)
	kernel.Add(to, to, work)
}

// record takes in the update of a row at an I-step.
func (r *probeRun) record(i int) {
	w := r.y.Cols
	update, work := row(r.before, i, w), row(r.work, i, w)
	kernel.Sub(update, r.y.Row(i), update)
	r.forecast(work, i)
	kernel.AXPY(work, -1, update)
	r.enter(i, update, kernel.SumSquares(work))
}

// enter puts the update of a row in the place of its oldest, given the squared error of its
// forecast. It overwrites work.
func (r *probeRun) enter(i int, update []float32, square float32) {
	at, block := r.known(i), r.block
	if len(at) > 0 {
		work, newest := row(r.work, i, len(update)), r.newest(i)
		gap := float32(r.position - int(at[newest]))
		kernel.Sub(work, update, r.update(i, newest))
		r.change[block][i], r.lastError[block][i] = kernel.SumSquares(work)/(gap*gap), square
	}
	k := int(r.times[block][i]) % (r.order + 1)
	copy(r.update(i, k), update)
	r.at[block][i*(r.order+1)+k] = int32(r.position)
	r.times[block][i]++
}

// compare leaves the forecast of a row's update in work, and takes its error.
func (r *probeRun) compare(i int) {
	w := r.y.Cols
	work, whole := row(r.work, i, w), row(r.whole, i, w)
	r.forecast(work, i)
	sum := float32(0)
	before, y := row(r.before, i, w), r.y.Row(i)
	for j := range work {
		e := y[j] - before[j] - work[j]
		whole[j] += e
		sum += e * e
	}
	r.square[i] = sum
}

// values returns what a ranking ranks a sample's image tokens by in the block that runs.
func (r *probeRun) values(by Ranking, sample int) []float32 {
	return r.allValues(by, sample)[r.shape.Text:]
}

// allValues is values of all tokens.
func (r *probeRun) allValues(by Ranking, sample int) []float32 {
	n := r.shape.Tokens
	switch by {
	case ByError:
		return r.square[sample*n:][:n]
	case ByLastError:
		return r.lastError[r.block][sample*n:][:n]
	case ByNorm:
		for i := range r.value {
			row := sample*n + i
			age := float32(r.position - int(r.known(row)[r.newest(row)]))
			r.value[i] = r.change[r.block][row] * age * age
		}
		return r.value
	}
	random := rand.New(rand.NewPCG(uint64(r.position), uint64(r.block*r.samples+sample)))
	for i := range r.value {
		r.value[i] = random.Float32()
	}
	return r.value
}

// ranked returns the tokens of values in the order of the ranking, the worst first.
func (r *probeRun) ranked(values []float32) []int32 {
	for i := range r.index {
		r.index[i] = int32(i)
	}
	slices.SortFunc(r.index, func(a, b int32) int {
		return cmp.Or(cmp.Compare(values[b], values[a]), cmp.Compare(a, b))
	})
	return r.index
}

// choose chooses the tokens that stay as computed.
func (r *probeRun) choose() {
	n, text := r.shape.Tokens, r.shape.Text
	count := int(math.Round(r.share * float64(n-text)))
	for i := range r.kept {
		r.kept[i] = i%n < text
	}
	for s := range r.samples {
		other := -1
		if r.unconditional != nil {
			other = r.unconditional[s]
		}
		if other < 0 && slices.Contains(r.unconditional, s) {
			continue // chosen with its conditional half
		}
		copy(r.both, r.values(r.rank, s))
		if other >= 0 {
			kernel.Add(r.both, r.both, r.values(r.rank, other))
		}
		for _, i := range r.ranked(r.both)[:count] {
			r.kept[s*n+text+int(i)] = true
			if other >= 0 {
				r.kept[other*n+text+int(i)] = true
			}
		}
	}
}

// replace gives a row its forecast unless it stays as computed, which enters its past.
func (r *probeRun) replace(i int) {
	w := r.y.Cols
	before, y := row(r.before, i, w), r.y.Row(i)
	if !r.kept[i] {
		kernel.Add(y, before, row(r.work, i, w))
		return
	}
	kernel.Sub(before, y, before)
	r.enter(i, before, r.square[i])
}

// take tallies the errors of the block that ran, and after the last one those of all blocks
// together.
func (r *probeRun) take() {
	n := r.shape.Tokens
	for s := range r.samples {
		squares := r.square[s*n:][r.shape.Text:n]
		for _, by := range Rankings() {
			r.tally.add(by, r.block, r.position, squares, r.ranked(r.values(by, s)))
		}
	}
	if r.block < r.shape.Blocks-1 {
		return
	}
	w := r.y.Cols
	r.g.EachRow(r.samples*n, w, func(i int) { r.square[i] = kernel.SumSquares(row(r.whole, i, w)) })
	for s := range r.samples {
		squares := r.square[s*n:][r.shape.Text:n]
		r.tally.whole.add(squares, r.ranked(squares))
	}
}

// Reset implements reuse.Run.
func (r *probeRun) Reset() {
	for _, times := range r.times {
		clear(times)
	}
}

// Stats implements reuse.Run.
func (r *probeRun) Stats() reuse.Cost { return r.cost }
