package reuse

import (
	"math"

	"github.com/tokencache/tokencache/seam"
)

// Bases of HiCache's series.
const (
	HermiteBasis      = "hermite"       // scaled Hermite polynomials, the method
	ScaledTaylorBasis = "taylor-scaled" // monomials with the same scale: TaylorSeer, contracted
)

// HiCache forecasts the outputs of attention and MLP as TaylorSeer does, but in a basis of scaled
// Hermite polynomials ("HiCache: Training-free Acceleration of Diffusion Models via Hermite
// Polynomial-based Feature Caching", arXiv 2508.16984). All is computed at the first Warmup steps
// and then at every Interval-th. In between, h steps after the last computed one, a branch's output
// is
//
//	d0 + Σ di/i! · Sigma^i · Hi(Sigma·h),    i = 1 ... Order
//
// with the finite differences di of the computed steps and the physicists' Hermite polynomials Hi.
// Differences begin at position Warmup-2, as in the public code.
type HiCache struct {
	Interval int     `policy:"n,interval,cache-interval" min:"1" help:"period of full steps"`
	Order    int     `policy:"order,max-order" min:"0" max:"4" help:"highest order of the series"`
	Warmup   int     `policy:"warmup,first,first-enhance" min:"1" help:"full steps at the start"`
	Sigma    float64 `policy:"sigma,hermite-scale" above:"0" max:"1" help:"contraction of the polynomials"`
	Basis    string  `policy:"basis" values:"hermite|taylor-scaled" help:"polynomials of the series"`
	Time     Clock   `policy:"time" values:"index|logsnr" empty:"index" help:"time over which forecasts extrapolate: steps, or the log-SNR"`
}

// NewHiCache returns a HiCache with its defaults.
func NewHiCache() *HiCache {
	return &HiCache{
		Interval: 3,
		Order:    2,
		Warmup:   3,
		Sigma:    0.5,
		Basis:    HermiteBasis,
	}
}

// String returns the policy as Parse takes it.
func (p *HiCache) String() string { return paramText("hicache", p) }

func (p *HiCache) written() []string {
	return p.Time.written("n", "order", "warmup", "sigma", "basis")
}

// idle implements idler: without an order the last output is reused.
func (p *HiCache) idle() []string {
	if p.Order == 0 {
		return []string{"sigma", "basis", "time"}
	}
	return nil
}

// Set changes one parameter.
func (p *HiCache) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *HiCache) Validate() error { return checkParams(p) }

// Kind implements Described.
func (p *HiCache) Kind() Kind {
	if p.Order == 0 {
		return Caches
	}
	return Extrapolates
}

// Granularity implements Described.
func (p *HiCache) Granularity() Granularity { return ByBranch }

// full reports whether a position computes everything.
func (p *HiCache) full(position int) bool {
	return fullEvery(p.Warmup, p.Interval, position)
}

// weights returns the factor of each difference at each number of steps after the last computed
// one, [steps][Order+1].
func (p *HiCache) weights(steps int) [][]float32 {
	table := make([][]float32, steps)
	for gap := range table {
		table[gap] = p.weightsAt(float64(gap))
	}
	return table
}

// between returns likewise the factors at each position after each earlier one, [to·steps+from], by
// the times of the positions.
func (p *HiCache) between(times []float32) [][]float32 {
	steps := len(times)
	table := make([][]float32, steps*steps)
	for to := range steps {
		for from := range to {
			table[to*steps+from] = p.weightsAt(float64(times[to]) - float64(times[from]))
		}
	}
	return table
}

// weightsAt returns the factors after a time.
func (p *HiCache) weightsAt(gap float64) []float32 {
	x := p.Sigma * gap
	list := []float32{1}
	before, h := 0.0, 1.0 // H(i-1) and H(i) at x
	scale := 1.0          // Sigma^i/i!
	for i := 1; i <= p.Order; i++ {
		before, h = h, 2*x*h-2*float64(i-1)*before
		scale *= p.Sigma / float64(i)
		if p.Basis == ScaledTaylorBasis {
			list = append(list, float32(scale*math.Pow(x, float64(i))))
		} else {
			list = append(list, float32(scale*h))
		}
	}
	return list
}

// CacheBytes implements Policy.
func (p *HiCache) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	return branchesBytes(m.Shape(), samples, p.Order), named("hicache", p.Validate())
}

// Shares implements Scheduled.
func (p *HiCache) Shares(_ *seam.Shape, plan Plan) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, named("hicache", err)
	}
	return fullShares(plan, p.full), nil
}

// NewRun implements Policy.
func (p *HiCache) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("hicache", err)
	}
	times, err := plan.clock(p.Time)
	if err != nil {
		return nil, named("hicache", err)
	}
	r := newFullSteps(m.Shape(), plan, samples, p.Order, p.full)
	r.past.since, r.past.times = p.Warmup-1, times
	if times == nil {
		r.past.weights = p.weights(plan.Steps())
	} else {
		r.past.between = p.between(times)
	}
	return r, nil
}
