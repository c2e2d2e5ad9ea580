package reuse

import (
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// DPCache computes all blocks at key steps, and none in between: there the output of the last block
// is its Taylor series over the key steps, of up to Order, and only the final layer runs
// ("Denoising as Path Planning: Training-Free Acceleration of Diffusion Models with DPCache", arXiv
// 2602.22654). Calibration chooses the key steps by dynamic programming over measured errors of
// such forecasts; without a list they are evenly spaced.
//
// The finite differences begin at position Warmup-2, as in the public code.
type DPCache struct {
	KeySteps `policy:"inline"`

	Order int   `json:"order" policy:"order,max-order" min:"0" max:"4" help:"highest order of the Taylor series"`
	Time  Clock `json:"time,omitempty" policy:"time" values:"index|logsnr" empty:"index" help:"time over which forecasts extrapolate: steps, or the log-SNR"`
}

// NewDPCache returns a DPCache with its defaults.
func NewDPCache() *DPCache {
	return &DPCache{KeySteps: KeySteps{Interval: 3, Warmup: 3}, Order: 2}
}

// String returns the policy as Parse takes it.
func (p *DPCache) String() string { return paramText("dpcache", p) }

func (p *DPCache) written() []string { return p.Time.written(append(p.names(), "order")...) }

// idle implements idler: without an order the last output is reused.
func (p *DPCache) idle() []string {
	if p.Order == 0 {
		return []string{"time"}
	}
	return nil
}

// Set changes one parameter.
func (p *DPCache) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *DPCache) Validate() error {
	if err := checkParams(p); err != nil {
		return err
	}
	return p.check()
}

// Kind implements Described.
func (p *DPCache) Kind() Kind {
	if p.Order == 0 {
		return Caches
	}
	return Extrapolates
}

// Granularity implements Described.
func (p *DPCache) Granularity() Granularity { return ByStep }

// resolve returns for each position whether it is a key step.
func (p *DPCache) resolve(plan Plan) ([]bool, error) {
	if err := p.Validate(); err != nil {
		return nil, named("dpcache", err)
	}
	full, err := p.KeySteps.resolve(plan.Steps())
	return full, named("dpcache", err)
}

// CacheBytes implements Policy.
func (p *DPCache) CacheBytes(model seam.Model, plan Plan, samples int) (int64, error) {
	m := model.Shape()
	_, err := p.resolve(plan)
	return differencesBytes(m.Cache, 1, samples*m.Tokens, m.Width, p.Order), err
}

// Shares implements Scheduled.
func (p *DPCache) Shares(_ *seam.Shape, plan Plan) ([]float64, error) {
	full, err := p.resolve(plan)
	if err != nil {
		return nil, err
	}
	return fullShares(plan, func(position int) bool { return full[position] }), nil
}

// NewRun implements Policy.
func (p *DPCache) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	full, err := p.resolve(plan)
	if err != nil {
		return nil, err
	}
	times, err := plan.clock(p.Time)
	if err != nil {
		return nil, named("dpcache", err)
	}
	m := model.Shape()
	r := &dpRun{
		wholeSteps: newWholeSteps(m, samples, full),
		past:       newDifferences(m.Cache, 1, samples*m.Tokens, m.Width, p.Order),
	}
	r.past.since, r.past.times = p.Warmup-1, times
	r.finishRow = r.finish
	return r, nil
}

// dpRun is the state of a DPCache.
type dpRun struct {
	wholeSteps
	past *differences // of the last block's output

	out, fresh *tensor.Tensor // the last block's output, and scratch of the same shape
	finishRow  func(row int)
}

// Apply implements seam.Reuse.
func (r *dpRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	y := r.block(x, f)
	if r.isLast(at) {
		r.out, r.fresh = y.X, r.g.New(y.X.Rows, y.X.Cols)
		r.g.EachRow(y.X.Rows, y.X.Cols, r.finishRow)
	}
	return y
}

// finish keeps a row of the last block's output, or sets it to its forecast.
func (r *dpRun) finish(row int) {
	p := r.positions[row/r.tokens]
	if r.full[p] {
		copy(r.fresh.Row(row), r.out.Row(row))
		r.past.record(0, row, p, r.fresh.Row(row))
		return
	}
	clear(r.out.Row(row))
	r.past.addForecast(r.out.Row(row), 0, row, p)
}

// Reset implements Run.
func (r *dpRun) Reset() { r.past.reset() }
