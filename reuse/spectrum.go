package reuse

import (
	"math"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Spectrum forecasts the tokens after the last block from all steps that were computed ("Adaptive
// Spectral Feature Forecasting for Diffusion Sampling Acceleration", arXiv 2603.01623). Each of
// their numbers, as a function of time, is fitted by Chebyshev polynomials of degree 0 to Degree by
// ridge regression: with the rows T_0(τ) ... T_m(τ) of X and the values H at the computed steps,
//
//	f = X(τ)·(X'X + Ridge·I)⁻¹·X'H,    τ = position/(steps/2) - 1.
//
// With a Weight w below 1 the forecast is w·f and 1-w times the straight line through the last two
// values. The first Warmup steps are full; then every Window-th, where Window grows by Flex at
// each of them. The public code has τ = position/25 - 1 whatever the number of steps, and forgets
// all but the last 100 values.
type Spectrum struct {
	Weight float64 `policy:"w" min:"0" max:"1" help:"weight of the polynomials; the rest is a straight line's"`
	Degree int     `policy:"m" min:"0" max:"8" help:"highest degree of the polynomials"`
	Ridge  float64 `policy:"lam" above:"0" help:"strength of the ridge"`
	Window float64 `policy:"window,window-size" min:"1" help:"period of full steps after the warmup"`
	Flex   float64 `policy:"flex,flex-window" min:"0" help:"growth of the period at each full step"`
	Warmup int     `policy:"warmup,warmup-steps" min:"1" help:"full steps at the start"`
	Time   Clock   `policy:"time" values:"index|logsnr" empty:"index" help:"time over which forecasts extrapolate: steps, or the log-SNR"`
}

// NewSpectrum returns a Spectrum with its defaults.
func NewSpectrum() *Spectrum {
	return &Spectrum{
		Weight: 1,
		Degree: 4,
		Ridge:  0.1,
		Window: 2,
		Flex:   0.75,
		Warmup: 5,
	}
}

// String returns the policy as Parse takes it.
func (p *Spectrum) String() string { return paramText("spectrum", p) }

func (p *Spectrum) written() []string {
	return p.Time.written("w", "m", "lam", "window", "flex", "warmup")
}

// idle implements idler: without a weight of theirs there are no polynomials.
func (p *Spectrum) idle() []string {
	if p.Weight == 0 {
		return []string{"m", "lam"}
	}
	return nil
}

// Set changes one parameter.
func (p *Spectrum) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *Spectrum) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *Spectrum) Kind() Kind { return Extrapolates }

// Granularity implements Described.
func (p *Spectrum) Granularity() Granularity { return ByStep }

// full returns which positions compute everything.
func (p *Spectrum) full(steps int) []bool {
	list := make([]bool, steps)
	window, skipped := p.Window, 0
	for position := range list {
		switch {
		case position < p.Warmup:
			list[position] = true
		case (skipped+1)%int(min(window, math.MaxInt32)) == 0:
			list[position] = true
			const digits = 1000 // to which the public code rounds
			window, skipped = math.RoundToEven((window+p.Flex)*digits)/digits, 0
		default:
			skipped++
		}
	}
	return list
}

// spectrumStep is what a Spectrum does at one position.
type spectrumStep struct {
	full  bool
	basis []float32 // of a full step: the polynomials there
	// Of another step: the factors of X'H, one for each polynomial, then those of the last value and
	// the one before.
	factors []float32
}

// plan returns what is done at each position. times are those of the positions, nil for the
// positions themselves.
func (p *Spectrum) plan(steps int, times []float32) []spectrumStep {
	n := p.Degree + 1
	list := make([]spectrumStep, steps)
	square := make([][]float64, n) // X'X + Ridge·I
	for i := range square {
		square[i] = make([]float64, n)
		square[i][i] = p.Ridge
	}
	last, before := 0, -1
	for position, full := range p.full(steps) {
		at := float64(position)
		if times != nil {
			at = float64(times[position])
		}
		x := chebyshev(2*at/float64(steps)-1, n)
		if full {
			list[position] = spectrumStep{full: true, basis: float32s(x)}
			addOuter(square, x)
			if position > 0 {
				last, before = position, last
			}
			continue
		}
		factors := solvePositive(square, x)
		for i := range factors {
			factors[i] *= p.Weight
		}
		slope := 0.0
		if before >= 0 {
			slope = float64(gap(times, last, position)) / float64(gap(times, before, last))
		}
		factors = append(factors, (1-p.Weight)*(1+slope), -(1-p.Weight)*slope)
		list[position] = spectrumStep{factors: float32s(factors)}
	}
	return list
}

// chebyshev returns the Chebyshev polynomials of degree 0 to n-1 at x.
func chebyshev(x float64, n int) []float64 {
	list := []float64{1, x}
	for len(list) < n {
		k := len(list)
		list = append(list, 2*x*list[k-1]-list[k-2])
	}
	return list[:n]
}

// addOuter adds the outer product of x with itself to a.
func addOuter(a [][]float64, x []float64) {
	for i, u := range x {
		for j, v := range x {
			a[i][j] += u * v
		}
	}
}

// solvePositive returns the solution y of a·y = b, for a symmetric a that is positive definite.
func solvePositive(a [][]float64, b []float64) []float64 {
	n := len(b)
	rows := make([][]float64, n)
	for i := range rows {
		rows[i] = append(append(make([]float64, 0, n+1), a[i]...), b[i])
	}
	for i, pivot := range rows {
		for j, row := range rows {
			if j == i {
				continue
			}
			factor := row[i] / pivot[i]
			for k := i; k <= n; k++ {
				row[k] -= factor * pivot[k]
			}
		}
	}
	y := make([]float64, n)
	for i, row := range rows {
		y[i] = row[n] / row[i]
	}
	return y
}

func float32s(list []float64) []float32 {
	narrow := make([]float32, len(list))
	for i, v := range list {
		narrow[i] = float32(v)
	}
	return narrow
}

// terms returns how many values are kept of each token: X'H, and where they matter the last two.
func (p *Spectrum) terms() int {
	if p.Weight < 1 {
		return p.Degree + 3
	}
	return p.Degree + 1
}

// CacheBytes implements Policy.
func (p *Spectrum) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	m := model.Shape()
	return 4 * int64(samples) * int64(m.Tokens) * int64(m.Width) * int64(p.terms()), named("spectrum", p.Validate())
}

// Shares implements Scheduled.
func (p *Spectrum) Shares(_ *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, named("spectrum", err)
	}
	full := p.full(plan.Steps())
	return fullShares(plan, func(position int) bool { return full[position] }), nil
}

// NewRun implements Policy.
func (p *Spectrum) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("spectrum", err)
	}
	times, err := plan.clock(p.Time)
	if err != nil {
		return nil, named("spectrum", err)
	}
	m := model.Shape()
	r := &spectrumRun{
		tokens: m.Tokens,
		last:   m.Blocks - 1,
		degree: p.Degree,
		steps:  p.plan(plan.Steps(), times),
		index:  make([]int32, 0, samples*m.Tokens),
	}
	for range p.terms() {
		r.values = append(r.values, newRows(samples*m.Tokens, m.Width))
	}
	r.finishRow = r.finish
	return r, nil
}

// spectrumRun is the state of a Spectrum.
type spectrumRun struct {
	g      *tensor.Graph
	tokens int
	last   int // block
	degree int
	steps  []spectrumStep
	values []*tensor.Tensor // X'H by degree, then perhaps the last value and the one before, [rows, D]
	stats  Cost

	positions []int
	index     []int32 // rows of samples that compute
	y         *tensor.Tensor
	finishRow func(row int)
}

// Begin implements Run.
func (r *spectrumRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
	for _, p := range positions {
		if r.steps[p].full {
			r.stats.ISteps++
		} else {
			r.stats.PSteps++
		}
	}
	r.index = rowsOfSamples(r.index[:0], len(positions), r.tokens, func(s int) bool {
		return r.steps[positions[s]].full
	})
}

// Sites implements seam.Reuse.
func (r *spectrumRun) Sites() seam.Sites { return seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *spectrumRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.stats.Rows += int64(x.X.Rows)
	r.stats.ComputedRows += int64(len(r.index))
	y := computeRows(r.g, x, r.index, f)
	if at.Block == r.last {
		r.y = y.X
		r.g.EachRow(y.X.Rows, y.X.Cols*len(r.values), r.finishRow)
	}
	return y
}

// finish takes in a computed row after the last block, or sets it to its forecast.
func (r *spectrumRun) finish(row int) {
	position := r.positions[row/r.tokens]
	step, y := &r.steps[position], r.y.Row(row)
	if !step.full {
		clear(y)
		for i, v := range r.values {
			kernel.AXPY(y, step.factors[i], v.Row(row))
		}
		return
	}
	sums := r.values[:r.degree+1]
	for i, v := range sums {
		if position == 0 {
			clear(v.Row(row))
		}
		kernel.AXPY(v.Row(row), step.basis[i], y)
	}
	if past := r.values[len(sums):]; len(past) > 0 {
		copy(past[1].Row(row), past[0].Row(row))
		copy(past[0].Row(row), y)
	}
}

// Reset implements Run: the first step computes everything, and nothing of before is used.
func (r *spectrumRun) Reset() {}

// Stats implements Run.
func (r *spectrumRun) Stats() Cost { return r.stats }
