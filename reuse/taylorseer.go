package reuse

import "github.com/tokencache/tokencache/seam"

// TaylorSeer forecasts the outputs of attention and MLP ("From Reusing to Forecasting: Accelerating
// Diffusion Models with TaylorSeers", arXiv 2503.06923). All is computed at the first Warmup steps
// and then at every Interval-th; in between each branch's output is its Taylor series over the
// computed steps, of up to Order.
type TaylorSeer struct {
	Interval int   `policy:"n,interval,cache-interval" min:"1" help:"period of full steps"`
	Order    int   `policy:"order,max-order" min:"0" max:"4" help:"highest order of the Taylor series"`
	Warmup   int   `policy:"warmup,disable-cache-before-step" min:"1" help:"full steps at the start"`
	Time     Clock `policy:"time" values:"index|logsnr" empty:"index" help:"time over which forecasts extrapolate: steps, or the log-SNR"`
}

// NewTaylorSeer returns a TaylorSeer with its defaults.
func NewTaylorSeer() *TaylorSeer { return &TaylorSeer{Interval: 3, Order: 1, Warmup: 2} }

// String returns the policy as Parse takes it.
func (p *TaylorSeer) String() string { return paramText("taylorseer", p) }

func (p *TaylorSeer) written() []string { return p.Time.written("n", "order", "warmup") }

// idle implements idler: without an order the last output is reused.
func (p *TaylorSeer) idle() []string {
	if p.Order == 0 {
		return []string{"time"}
	}
	return nil
}

// Set changes one parameter.
func (p *TaylorSeer) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *TaylorSeer) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *TaylorSeer) Kind() Kind {
	if p.Order == 0 {
		return Caches
	}
	return Extrapolates
}

// Granularity implements Described.
func (p *TaylorSeer) Granularity() Granularity { return ByBranch }

// full reports whether a position computes everything.
func (p *TaylorSeer) full(position int) bool {
	return fullEvery(p.Warmup, p.Interval, position)
}

// CacheBytes implements Policy.
func (p *TaylorSeer) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	return branchesBytes(m.Shape(), samples, p.Order), named("taylorseer", p.Validate())
}

// Shares implements Scheduled.
func (p *TaylorSeer) Shares(_ *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, named("taylorseer", err)
	}
	return fullShares(plan, p.full), nil
}

// NewRun implements Policy.
func (p *TaylorSeer) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("taylorseer", err)
	}
	times, err := plan.clock(p.Time)
	if err != nil {
		return nil, named("taylorseer", err)
	}
	r := newFullSteps(m.Shape(), plan, samples, p.Order, p.full)
	r.past.times = times
	return r, nil
}
