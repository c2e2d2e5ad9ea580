package reuse

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Forecast holds the learned weights of the P-steps' forecasts, the same for all tokens. At a
// P-step the residual of the whole model is
//
//	R^(p)[n] = sum over i of Weights[p][i] · R[n] at the i-th last I-step or half step.
//
// At a half step the weights are those of guidance's difference at the i-th last I-step. Where
// P-steps compute tokens they are those of the updates, keys and values of the others.
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
	const maxTerms = 8
	if !ok || len(info.Shape) != 2 || info.Shape[1] < 1 || info.Shape[1] > maxTerms {
		return nil, fmt.Errorf("%s: no tensor %s of shape [steps, terms], of 1 to %d terms",
			f.Path, forecastTensor, maxTerms)
	}
	weights, err := f.Float32(forecastTensor)
	if err != nil {
		return nil, err
	}
	return &Forecast{Steps: info.Shape[0], Terms: info.Shape[1], Weights: weights}, nil
}

// At returns the weights at a position.
func (f *Forecast) At(p int) []float32 { return f.Weights[p*f.Terms:][:f.Terms] }

// stepForecast is the state of a TokenCache whose P-steps compute nothing. There the blocks' cached
// updates are only ever added up, and the sum of their forecasts is the forecast of their sum. So
// the cache holds one residual for each token, that of the whole model, R[n] = x[L,n] - x[0,n],
// instead of L updates: the same numbers to rounding, for an L-th of memory and time. The position
// embedding that an MDT adds before its decoder is no update of a block: it is added on P-steps
// too, and R is without it.
type stepForecast struct {
	policy *resolved
	g      *tensor.Graph
	tokens int
	blocks int
	width  int
	added  []float32      // what the model adds between blocks, [N, D], or nil
	start  *tensor.Tensor // before the first block, of samples at an I-step
	series *differences   // of R; nil where forecasts are learned
	past   ring           // R at the last I-steps and half steps, each [rows, D]

	// Where there are half steps: guidance's difference D[n] = R[n] of the conditional half less
	// R[n] of the unconditional one, at the last I-steps, once for each image.
	guidance ring
	stats    Cost

	positions   []int
	conditional []int // of each sample: the one whose unconditional half it is, or -1
	image       []int // of each unconditional sample: how many come before it
	x           *tensor.Tensor
	index       []int32 // rows of samples that are computed

	startRow, finishRow, guideRow func(i int)
}

// ring holds the last few values of some samples, in fixed memory.
type ring struct {
	tokens, width int
	values        [][]float32 // each [rows, D]
	newest        []int       // of each sample: which of values is the newest
}

func newRing(terms, samples int, m *seam.Shape) ring {
	r := ring{tokens: m.Tokens, width: m.Width, newest: make([]int, samples)}
	for range terms {
		r.values = append(r.values, make([]float32, samples*m.Tokens*m.Width))
	}
	return r
}

// advance makes the oldest value of a sample its newest, to be overwritten.
func (r *ring) advance(sample int) {
	r.newest[sample] = (r.newest[sample] + len(r.values) - 1) % len(r.values)
}

// at returns the i-th newest value of a row.
func (r *ring) at(row, i int) []float32 {
	return r.values[(r.newest[row/r.tokens]+i)%len(r.values)][row*r.width : (row+1)*r.width]
}

func (r *ring) reset() {
	for _, v := range r.values {
		clear(v)
	}
}

// forecastsSteps reports whether the policy's P-steps compute nothing, and only updates are cached.
func (t *TokenCache) forecastsSteps() bool {
	return t.Ratio == 0 && t.Cached == Update && t.Site != BodySite
}

// stepForecastBytes returns the memory of newStepForecast.
func (t *TokenCache) stepForecastBytes(m *seam.Shape, samples int) int64 {
	rows := samples * m.Tokens
	row := 4 * int64(m.Width)
	if t.Forecast == nil {
		return row*int64(rows) + t.Basis.bytes(m.Cache, 1, rows, m.Width, t.Order)
	}
	bytes := row * int64(rows) * int64(1+t.Forecast.Terms)
	if len(t.Steps.Half) > 0 {
		bytes += row * int64(samples/2*m.Tokens) * int64(t.Forecast.Terms)
	}
	return bytes
}

func newStepForecast(p *resolved, m *seam.Shape, samples int) *stepForecast {
	rows := samples * m.Tokens
	r := &stepForecast{
		policy:      p,
		tokens:      m.Tokens,
		blocks:      m.Blocks,
		width:       m.Width,
		added:       addedInside(m),
		start:       newRows(rows, m.Width),
		conditional: make([]int, samples),
		image:       make([]int, samples),
		index:       make([]int32, 0, rows),
	}
	switch {
	case p.Forecast == nil:
		r.series = p.differences(m.Cache, 1, rows, m.Width)
	case len(p.Steps.Half) > 0:
		r.guidance = newRing(p.Forecast.Terms, samples/2, m)
		fallthrough
	default:
		r.past = newRing(p.Forecast.Terms, samples, m)
	}
	r.startRow, r.finishRow, r.guideRow = r.begin, r.finish, r.guide
	return r
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

// Begin implements Run.
func (r *stepForecast) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	r.index = r.index[:0]
	r.pair(b, len(positions))
	for s, p := range positions {
		full, half := r.policy.full[p], r.policy.half[p]
		paired := r.conditional[s] >= 0 || b.Unconditional != nil && b.Unconditional[s] >= 0
		switch {
		case full || half && !paired:
			r.stats.ISteps++
		case half:
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
		if len(r.past.values) > 0 && (full || half) {
			r.past.advance(s)
		}
		if len(r.guidance.values) > 0 && full && r.conditional[s] >= 0 {
			r.guidance.advance(r.image[s])
		}
	}
}

// pair notes which samples are the halves of one image.
func (r *stepForecast) pair(b *seam.Batch, samples int) {
	conditional := r.conditional[:samples]
	for s := range conditional {
		conditional[s] = -1
	}
	for s, other := range b.Unconditional {
		if other >= 0 {
			conditional[other] = s
		}
	}
	image := 0
	for s := range conditional {
		if r.image[s] = image; conditional[s] >= 0 {
			image++
		}
	}
}

// computes reports whether a sample is computed in the pass that runs: at an I-step, and at a half
// step unless it is the half that is derived from the other.
func (r *stepForecast) computes(s int) bool {
	p := r.positions[s]
	return r.policy.full[p] || r.policy.half[p] && r.conditional[s] < 0
}

// Sites implements seam.Reuse.
func (r *stepForecast) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *stepForecast) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	if at.Block == 0 {
		r.x = x.X
		r.g.EachRow(len(r.index), r.width, r.startRow)
	}
	y := computeRows(r.g, x, r.index, f)
	if at.Block == r.blocks-1 {
		r.x = y.X
		r.g.EachRow(y.X.Rows, r.width, r.finishRow)
		if len(r.guidance.values) > 0 {
			r.g.EachRow(y.X.Rows, r.width, r.guideRow)
		}
	}
	return y
}

// begin keeps what a computed row was before the first block.
func (r *stepForecast) begin(i int) {
	row := int(r.index[i])
	copy(r.start.Row(row), r.x.Row(row))
}

// finish takes the residual of a row into the cache, or adds its forecast.
func (r *stepForecast) finish(row int) {
	s := row / r.tokens
	p, x, start := r.positions[s], r.x.Row(row), r.start.Row(row)
	if !r.computes(s) {
		switch {
		case r.series != nil:
			r.series.addForecast(x, 0, row, p)
		case !r.policy.half[p]:
			for i, weight := range r.policy.Forecast.At(p) {
				kernel.AXPY(x, weight, r.past.at(row, i))
			}
		}
		return
	}
	if n := row % r.tokens * r.width; r.added != nil {
		kernel.Add(start, start, r.added[n:n+r.width])
	}
	if r.series != nil {
		kernel.Sub(start, x, start)
		r.series.record(0, row, p, start)
		return
	}
	kernel.Sub(r.past.at(row, 0), x, start)
}

// guide stores guidance's difference at I-steps. At half steps it derives the residual of an
// unconditional row: the conditional one less the forecast difference.
func (r *stepForecast) guide(row int) {
	s := row / r.tokens
	p, other := r.positions[s], r.conditional[s]
	if other < 0 || !r.policy.full[p] && !r.policy.half[p] {
		return
	}
	imageRow := r.image[s]*r.tokens + row%r.tokens
	residual := r.past.at(row, 0)
	conditional := r.past.at(row+(other-s)*r.tokens, 0)
	if r.policy.full[p] {
		kernel.Sub(r.guidance.at(imageRow, 0), conditional, residual)
		return
	}
	copy(residual, conditional)
	for i, weight := range r.policy.Forecast.At(p) {
		kernel.AXPY(residual, -weight, r.guidance.at(imageRow, i))
	}
	x := r.x.Row(row)
	kernel.Add(x, x, residual)
}

// Reset implements Run. Calibration gives weight 0 to terms that do not exist yet.
func (r *stepForecast) Reset() {
	if r.series != nil {
		r.series.reset()
	}
	r.past.reset()
	r.guidance.reset()
}

// Stats implements Run.
func (r *stepForecast) Stats() Cost { return r.stats }
