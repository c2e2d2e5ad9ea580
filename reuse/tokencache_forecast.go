package reuse

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Where P-steps compute no token at all, the blocks' cached updates are only ever added up, and the sum of their forecasts is the forecast of their sum. The cache then holds
// one update for each token, that of all blocks together, R[n] = x[L,n] - x[0,n], instead of L: the same numbers to rounding, for an L-th of memory and time. The position
// embedding that an MDT adds before its decoder is no update of a block: it is added on P-steps too, and R is without it.

// Forecast holds learned weights of a P-step's forecast, the same for all tokens: R^(p)[n] = sum over i of Weights[p][i] · R[n] at the i-th last I-step, or half step. At a half step
// the weights are of what guidance's halves differ by at the i-th last I-step.
type Forecast struct {
	Steps, Terms int
	Weights      []float32 // [Steps, Terms]; unused at I-steps
}

// NewForecast returns weights that are all zero.
func NewForecast(steps, terms int) *Forecast {
	return &Forecast{Steps: steps, Terms: terms, Weights: make([]float32, steps*terms)}
}

// forecastTensor is the name of the weights in PredictorFile.
const forecastTensor = "forecast"

// Write writes the weights to a safetensors file.
func (f *Forecast) Write(path string) error {
	return checkpoint.WriteSafetensors(path, checkpoint.Content{
		Tensors: []checkpoint.Info{{Name: forecastTensor, DType: checkpoint.F32, Shape: []int{f.Steps, f.Terms}}},
		Read:    func(_ string, dst []float32) error { copy(dst, f.Weights); return nil },
	})
}

// readForecast reads what Write wrote.
func readForecast(f *checkpoint.File) (*Forecast, error) {
	info, ok := f.Lookup(forecastTensor)
	const mostTerms = 8
	if !ok || len(info.Shape) != 2 || info.Shape[1] < 1 || info.Shape[1] > mostTerms {
		return nil, fmt.Errorf("%s: no tensor %s of shape [steps, terms], of 1 to %d terms", f.Path, forecastTensor, mostTerms)
	}
	weights, err := f.Float32(forecastTensor)
	if err != nil {
		return nil, err
	}
	return &Forecast{Steps: info.Shape[0], Terms: info.Shape[1], Weights: weights}, nil
}

// At returns the weights at a position.
func (f *Forecast) At(p int) []float32 { return f.Weights[p*f.Terms:][:f.Terms] }

// stackRun is the state of a TokenCache whose P-steps compute nothing.
type stackRun struct {
	policy  *TokenCache
	g       *tensor.Graph
	full    []bool // of each position: an I-step
	half    []bool // of each position: a half step
	tokens  int
	blocks  int
	width   int
	added   []float32      // what the model adds between blocks, [N, D], or nil
	start   *tensor.Tensor // before the first block, of samples at an I-step
	history *history       // of Taylor's series
	past    [][]float32    // of learned forecasts: R at the last I-steps and half steps, the last first, each [rows, D]
	newest  []int          // of each sample: which of past is the last

	// Where there are half steps, what guidance's halves differ by, D[n] = R[n] of the conditional half less that of the other, at the last I-steps, of the unconditional samples alone.
	apart       [][]float32 // as past, but for rows
	newestApart []int       // of each sample
	slot        []int       // of each unconditional sample: how many come before it
	stats       Cost

	positions   []int
	conditional []int // of each sample: the one whose unconditional half it is, or -1
	x           *tensor.Tensor
	index       []int32 // rows of samples that are computed

	startRow, settleRow, joinRow func(i int)
}

// stacked reports whether the policy's P-steps compute nothing, and only updates are cached.
func (t *TokenCache) stacked() bool { return t.Ratio == 0 && t.Cached == Update && t.Site != BodySite }

// stackBytes returns the memory of a stackRun.
func (t *TokenCache) stackBytes(m *seam.Shape, samples int) int64 {
	rows := samples * m.Tokens
	row := 4 * int64(m.Width)
	if t.Forecast == nil {
		return row*int64(rows) + historyBytes(1, rows, m.Width, t.Order)
	}
	bytes := row * int64(rows) * int64(1+t.Forecast.Terms)
	if len(t.Steps.Half) > 0 {
		bytes += row * int64(samples/2*m.Tokens) * int64(t.Forecast.Terms)
	}
	return bytes
}

func (t *TokenCache) newStackRun(m *seam.Shape, full, half []bool, samples int) (Run, error) {
	rows := samples * m.Tokens
	r := &stackRun{
		policy: t,
		full:   full,
		half:   half,
		tokens: m.Tokens,
		blocks: m.Blocks,
		width:  m.Width,
		added:  addedInside(m),
	}
	apart := 0
	if t.Forecast != nil && len(t.Steps.Half) > 0 {
		apart = samples / 2 * m.Tokens * m.Width
	}
	r.start = tensor.FromSlice(make([]float32, rows*m.Width), rows, m.Width)
	if t.Forecast == nil {
		r.history = newHistory(1, rows, m.Width, t.Order)
	} else {
		for range t.Forecast.Terms {
			r.past = append(r.past, make([]float32, rows*m.Width))
			if apart > 0 {
				r.apart = append(r.apart, make([]float32, apart))
			}
		}
	}
	r.newestApart, r.conditional, r.slot = make([]int, samples), make([]int, samples), make([]int, samples)
	r.newest, r.index = make([]int, samples), make([]int32, 0, rows)
	r.startRow, r.settleRow, r.joinRow = r.begin, r.settle, r.join
	return r, nil
}

// Begin implements Run.
func (r *stackRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	r.index = r.index[:0]
	conditional := r.conditional[:len(positions)]
	for s := range conditional {
		conditional[s] = -1
	}
	for s, other := range b.Unconditional {
		if other >= 0 {
			conditional[other] = s
		}
	}
	before := 0
	for s, p := range positions {
		if r.slot[s] = before; conditional[s] >= 0 {
			before++
		}
		paired := conditional[s] >= 0 || b.Unconditional != nil && b.Unconditional[s] >= 0
		switch {
		case r.full[p] || r.half[p] && !paired:
			r.stats.ISteps++
		case r.half[p]:
			r.stats.HalfSteps++
			fallthrough
		default:
			r.stats.PSteps++
		}
		if r.computes(s) {
			for i := range r.tokens {
				r.index = append(r.index, int32(s*r.tokens+i))
			}
		}
		if len(r.past) > 0 && (r.full[p] || r.half[p]) {
			r.newest[s] = (r.newest[s] + len(r.past) - 1) % len(r.past)
		}
		if len(r.apart) > 0 && r.full[p] {
			r.newestApart[s] = (r.newestApart[s] + len(r.apart) - 1) % len(r.apart)
		}
	}
}

// computes reports whether a sample is computed in the pass that runs: at an I-step, and at a half step unless it is the half that is derived from the other.
func (r *stackRun) computes(s int) bool {
	p := r.positions[s]
	return r.full[p] || r.half[p] && r.conditional[s] < 0
}

// Sites implements seam.Reuse.
func (r *stackRun) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *stackRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	if at.Block == 0 {
		r.x = x.X
		r.g.EachRow(len(r.index), r.width, r.startRow)
	}
	y := x
	switch len(r.index) {
	case 0:
	case x.X.Rows:
		y = f(x)
	case int(r.index[len(r.index)-1]-r.index[0]) + 1: // one range of rows, as the half of guidance that half steps compute
		some := x.Range(r.g, int(r.index[0]), int(r.index[0])+len(r.index))
		if made := f(some); made.X != some.X {
			copy(some.X.Flat(), made.X.Flat())
		}
	default:
		r.g.Scatter(x.X, r.index, f(x.Gather(r.g, r.index)).X)
	}
	if at.Block == r.blocks-1 {
		r.x = y.X
		r.g.EachRow(y.X.Rows, r.width, r.settleRow)
		if len(r.apart) > 0 {
			r.g.EachRow(y.X.Rows, r.width, r.joinRow)
		}
	}
	return y
}

// begin keeps what a computed row was before the first block.
func (r *stackRun) begin(i int) {
	row := int(r.index[i])
	copy(r.start.Row(row), r.x.Row(row))
}

// settle takes a row's update over all blocks into the cache, or adds its forecast.
func (r *stackRun) settle(row int) {
	s := row / r.tokens
	p, x, computed := r.positions[s], r.x.Row(row), r.computes(s)
	if n := row % r.tokens * r.width; computed && r.added != nil {
		start := r.start.Row(row)
		kernel.Add(start, start, r.added[n:n+r.width])
	}
	if r.history != nil {
		if computed {
			subtract(r.start.Row(row), x)
			r.history.record(0, row, p, r.start.Row(row))
		} else {
			r.history.addForecast(x, 0, row, p)
		}
		return
	}
	switch {
	case computed:
		fresh := r.term(row, 0)
		kernel.Scale(fresh, r.start.Row(row), -1)
		kernel.Add(fresh, fresh, x)
	case !r.half[p]:
		for i, weight := range r.policy.Forecast.At(p) {
			kernel.AXPY(x, weight, r.term(row, i))
		}
	}
}

// addedInside returns the sum of what a model adds between its blocks, [N, D], or nil.
func addedInside(m *seam.Shape) []float32 {
	var sum []float32
	for i := range m.Blocks {
		if a := m.AddedBefore(i); a != nil && sum == nil {
			sum = a
		} else if a != nil {
			sum = slices.Clone(sum)
			kernel.Add(sum, sum, a)
		}
	}
	return sum
}

// term returns the i-th last update of a row that is kept.
func (r *stackRun) term(row, i int) []float32 {
	return r.past[(r.newest[row/r.tokens]+i)%len(r.past)][row*r.width : (row+1)*r.width]
}

// difference returns the i-th last of what a row of the unconditional half is apart from the other's.
func (r *stackRun) difference(row, i int) []float32 {
	s := row / r.tokens
	at := (r.slot[s]*r.tokens + row%r.tokens) * r.width
	return r.apart[(r.newestApart[s]+i)%len(r.apart)][at : at+r.width]
}

// join keeps, at I-steps, what a row of guidance's unconditional half is apart from the other's. At half steps it gives the row the other's update less the forecast of that.
func (r *stackRun) join(row int) {
	s := row / r.tokens
	p, other := r.positions[s], r.conditional[s]
	if other < 0 || !r.full[p] && !r.half[p] {
		return
	}
	update := r.term(row, 0)
	conditional := r.term(row+(other-s)*r.tokens, 0)
	if r.full[p] {
		apart := r.difference(row, 0)
		kernel.Scale(apart, update, -1)
		kernel.Add(apart, apart, conditional)
		return
	}
	copy(update, conditional)
	for i, weight := range r.policy.Forecast.At(p) {
		kernel.AXPY(update, -weight, r.difference(row, i))
	}
	x := r.x.Row(row)
	kernel.Add(x, x, update)
}

// Reset implements Run: calibrated weights of steps with a short past are 0 for what is not there, and what was there is cleared.
func (r *stackRun) Reset() {
	if r.history != nil {
		r.history.reset()
	}
	for _, past := range r.past {
		clear(past)
	}
	for _, apart := range r.apart {
		clear(apart)
	}
}

// Stats implements Run.
func (r *stackRun) Stats() Cost { return r.stats }
