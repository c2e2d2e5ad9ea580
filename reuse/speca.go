package reuse

import (
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Metrics of SpeCa's error.
const (
	RelativeL1 = "relative-l1" // the mean of |F-G| / (|G| + 1e-10)
	MeanL1     = "l1"          // the mean of |F-G|
	RootL2     = "l2"          // the root of the mean of (F-G)²
)

// SpeCa forecasts the outputs of attention and MLP as TaylorSeer does, and verifies forecasts on
// the last block ("SpeCa: Accelerating Diffusion Transformers with Speculative Feature Caching",
// arXiv 2509.11628). There the tokens G of the block, computed from its forecast input, are
// compared with their forecast F. The error may be up to
//
//	tau = max(0.01, Threshold · Decay^((p+1)/T))
//
// at position p of T. As in the public code a step with a larger one stands, and the next is full.
// With Reject it does not, as in the paper: it is run again, in full.
//
// The first step is full, and so is every step of the first three that does not follow a full one,
// and one after Max forecasts. The step after a full one is forecast. Forecasts are verified once
// Min steps in a row were forecast.
type SpeCa struct {
	Order     int     `policy:"order,max-order" min:"0" max:"4" help:"highest order of the Taylor series"`
	Threshold float64 `policy:"threshold,base-threshold" min:"0" help:"largest error at the start"`
	Decay     float64 `policy:"decay,decay-rate" above:"0" help:"share of the largest error that is left at the end"`
	Min       int     `policy:"min,min-taylor,min-taylor-steps" min:"0" help:"forecasts in a row that are not verified"`
	Max       int     `policy:"max,max-taylor,max-taylor-steps" min:"1" help:"max forecasts in a row"`
	Metric    string  `policy:"metric,error-metric" values:"relative-l1|l1|l2" help:"what the error is"`
	Reject    bool    `policy:"reject" help:"a step with a larger error is run again, instead of the next one being full"`

	// Halves is JointHalves or SeparateHalves.
	Halves string `policy:"halves" values:"joint|separate" help:"how guidance's two halves decide"`
}

// NewSpeCa returns a SpeCa with its defaults.
func NewSpeCa() *SpeCa {
	return &SpeCa{
		Order:     4,
		Threshold: 0.1,
		Decay:     0.01,
		Min:       2,
		Max:       5,
		Metric:    RelativeL1,
		Halves:    JointHalves,
	}
}

// String returns the policy as Parse takes it.
func (p *SpeCa) String() string { return paramText("speca", p) }

// Set changes one parameter.
func (p *SpeCa) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *SpeCa) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *SpeCa) Kind() Kind {
	if p.Order == 0 {
		return Caches
	}
	return Extrapolates
}

// Granularity implements Described.
func (p *SpeCa) Granularity() Granularity { return ByBranch }

// lowestTolerance is the lower bound of tau.
const lowestTolerance = 0.01

// tolerance returns tau at a position.
func (p *SpeCa) tolerance(position, steps int) float64 {
	return max(lowestTolerance, p.Threshold*math.Pow(p.Decay, float64(position+1)/float64(steps)))
}

// specaAction is what a SpeCa does for a sample in a pass.
type specaAction uint8

const (
	specaFull     specaAction = iota
	specaForecast             // nothing is computed
	specaVerify               // nothing but the last block, for its error
)

// The first steps, of which the second of two forecasts is full, and the first whose outputs make
// differences with earlier ones: in the public code the constants 3 and 2.
const (
	specaFirst       = 3
	specaDifferences = 2
)

// action returns what to do at a position after a number of forecasts in a row, of the last of
// which the error is known, or negative.
func (p *SpeCa) action(position, steps, forecasts int, err float64) specaAction {
	verified := forecasts >= p.Min
	switch {
	case position == 0:
		return specaFull
	case forecasts == 0:
		verified = verified && p.Reject
	case position < specaFirst, forecasts >= p.Max:
		return specaFull
	case !p.Reject && !(err <= p.tolerance(position, steps)):
		return specaFull
	}
	if verified {
		return specaVerify
	}
	return specaForecast
}

// CacheBytes implements Policy.
func (p *SpeCa) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	return branchesBytes(m.Shape(), samples, p.Order), named("speca", p.Validate())
}

// NewRun implements Policy.
func (p *SpeCa) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("speca", err)
	}
	m := model.Shape()
	r := &specaRun{
		branches: newBranches(m, plan, samples, p.Order),
		policy:   *p,
		last:     m.Blocks - 1,
		text:     m.Text,
		samples:  make([]specaSample, samples),
		twin:     make(twins, samples),
		errors:   make([]float64, samples*m.Tokens),
	}
	r.past.since = specaDifferences
	r.isFull = func(s int) bool { return r.samples[s].action == specaFull }
	r.isComputed = func(s int) bool { return r.samples[s].action != specaForecast }
	r.attentionRow, r.mlpRow, r.compareRow = r.forecastAttention, r.forecastMLP, r.compare
	return r, nil
}

// specaSample is the state of one sample.
type specaSample struct {
	action    specaAction // in the pass that runs
	forecasts int         // in a row
	err       float64     // of the last forecast, or -1 if it was not verified
}

// specaRun is the state of a SpeCa.
type specaRun struct {
	*branches
	policy  SpeCa
	last    int // block
	text    int // of a sample's tokens: their errors do not count
	samples []specaSample
	twin    twins
	again   bool      // the pass that runs is one that was rejected
	rows    int64     // of stats, before the step
	errors  []float64 // of each row: the sum over its elements

	// In the last block of a pass in which some sample is verified.
	gate  *tensor.Tensor // of the branch, [samples, D]
	guess *tensor.Tensor // the forecasts of the tokens after the block, [rows, D]
	part  *tensor.Tensor // of a branch's output, likewise
	at    *tensor.Tensor // the tokens of the site

	isFull, isComputed               func(sample int) bool
	attentionRow, mlpRow, compareRow func(row int)
}

// Begin implements Run.
func (r *specaRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	if r.again {
		return // Finish has said what is done this time
	}
	r.rows = r.stats.Rows
	if r.policy.Halves == SeparateHalves {
		r.twin.part(len(positions))
	} else {
		r.twin.pair(b, len(positions))
	}
	for s, p := range positions {
		state := &r.samples[s]
		state.action = r.policy.action(p, r.steps, state.forecasts, state.err)
		r.trial[s] = state.action != specaFull
	}
}

// Sites implements seam.Reuse.
func (r *specaRun) Sites() seam.Sites {
	return seam.SitesOf(seam.Block, seam.Attention, seam.MLP)
}

// verifies reports whether some sample is verified in the pass that runs.
func (r *specaRun) verifies() bool {
	for s := range r.positions {
		if r.samples[s].action == specaVerify {
			return true
		}
	}
	return false
}

// Apply implements seam.Reuse.
func (r *specaRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	verifies := at.Block == r.last && r.verifies()
	if at.Part == seam.Block {
		if !verifies {
			return f(x)
		}
		r.guess, r.part = r.g.New(x.X.Rows, r.width), r.g.New(x.X.Rows, r.width)
		y := f(x)
		r.at = y.X
		r.g.EachRow(y.X.Rows, r.width, r.compareRow)
		return y
	}
	if !verifies {
		return r.apply(at, x, f, r.isFull)
	}
	// The forecast of the tokens goes next to the computed ones.
	r.at, r.gate = x.X, x.Modulation.Gate
	guess := r.attentionRow
	if at.Part == seam.MLP {
		guess = r.mlpRow
	}
	r.branch = branchOf(at)
	r.g.EachRow(x.X.Rows, r.width, guess)
	return r.apply(at, x, f, r.isComputed)
}

// forecastAttention sets the forecast of a row of tokens after the last block's attention.
func (r *specaRun) forecastAttention(row int) {
	if s := row / r.tokens; r.samples[s].action == specaVerify {
		kernel.GateResidual(r.guess.Row(row), r.at.Row(row), r.gate.Row(s), r.forecastOf(row))
	}
}

// forecastMLP adds what the forecast of the MLP adds to it.
func (r *specaRun) forecastMLP(row int) {
	if s := row / r.tokens; r.samples[s].action == specaVerify {
		kernel.MulAdd(r.guess.Row(row), r.gate.Row(s), r.forecastOf(row))
	}
}

// forecastOf returns the forecast of the branch that runs.
func (r *specaRun) forecastOf(row int) []float32 {
	part := r.part.Row(row)
	clear(part)
	r.past.addForecast(part, r.branch, row, r.positions[row/r.tokens])
	return part
}

// compare takes the error of a verified row, and gives it its forecast.
func (r *specaRun) compare(row int) {
	if r.samples[row/r.tokens].action != specaVerify {
		return
	}
	computed, guess := r.at.Row(row), r.guess.Row(row)
	r.errors[row] = r.policy.distance(guess, computed)
	copy(computed, guess)
}

// distance returns the sum over elements that the metric takes the mean of.
func (p *SpeCa) distance(guess, computed []float32) float64 {
	sum := 0.0
	for i, v := range guess {
		d := math.Abs(float64(v) - float64(computed[i]))
		switch p.Metric {
		case RootL2:
			sum += d * d
		case MeanL1:
			sum += d
		default:
			sum += d / (math.Abs(float64(computed[i])) + 1e-10)
		}
	}
	return sum
}

// errorOf returns the error of a verified sample, with its twin's.
func (r *specaRun) errorOf(s int) float64 {
	sum, n := r.sumOf(s), (r.tokens-r.text)*r.width
	if twin := r.twin[s]; twin >= 0 {
		sum, n = sum+r.sumOf(twin), 2*n
	}
	if r.policy.Metric == RootL2 {
		return math.Sqrt(sum / float64(n))
	}
	return sum / float64(n)
}

func (r *specaRun) sumOf(s int) float64 {
	sum := 0.0
	for _, e := range r.errors[s*r.tokens+r.text : (s+1)*r.tokens] {
		sum += e
	}
	return sum
}

// Finish implements seam.Finisher: it rejects the pass if a forecast fails, where the policy does.
func (r *specaRun) Finish(*tensor.Tensor) (again bool) {
	for s, p := range r.positions {
		state := &r.samples[s]
		if !r.policy.Reject || state.action != specaVerify {
			continue
		}
		if r.twin[s] >= 0 && r.twin[s] < s {
			// Its twin has decided for both.
			state.action = r.samples[r.twin[s]].action
		} else if !(r.errorOf(s) <= r.policy.tolerance(p, r.steps)) {
			state.action, again = specaFull, true
		}
		r.trial[s] = state.action != specaFull
	}
	if r.again = again; again {
		r.stats.Rows = r.rows // it is no step, though what it computed is paid for
		return true
	}
	for s := range r.positions {
		switch state := &r.samples[s]; state.action {
		case specaFull:
			state.forecasts, state.err = 0, -1
			r.stats.ISteps++
		case specaVerify:
			state.err = r.errorOf(s)
			fallthrough
		default:
			state.forecasts++
			r.stats.PSteps++
		}
	}
	return false
}

// Reset implements Run.
func (r *specaRun) Reset() {
	r.branches.Reset()
	r.again = false
}
