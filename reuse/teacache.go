package reuse

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TeaCache skips all blocks while their input changes little ("Timestep Embedding Tells: It's Time
// to Cache for Video Diffusion Model", arXiv 2411.19108). It looks at the modulated input of the
// first block's attention, which costs next to nothing. The relative L1 change of that from step to
// step, mapped by a polynomial to the expected change of the output, is added up. As long as the
// sum is below Threshold the tokens get the residual of all blocks; then everything is computed,
// and the sum begins anew. The first and the last step are always full. The public code averages
// over the batch; here every sample decides for itself.
type TeaCache struct {
	Threshold float64 `json:"threshold" policy:"threshold" min:"0" help:"sum of changes from which on everything is computed"`

	// Coefficients are those of the polynomial, that of degree 0 first; none is the identity.
	// Calibration finds them for a model and its sampler.
	Coefficients []float64 `json:"coefficients,omitempty" policy:"coefficients" default:"none" help:"coefficients of the polynomial, constant first: c0+c1+..."`

	// Low and High are the smallest and the largest change that the coefficients were found from;
	// changes beyond count as these. High of 0 is no bound.
	Low  float64 `json:"low,omitempty" policy:"low" min:"0" help:"lower bound of the changes; smaller ones count as this"`
	High float64 `json:"high,omitempty" policy:"high" min:"0" help:"upper bound of the changes; larger ones count as this; 0: no low or high"`
}

// NewTeaCache returns a TeaCache with its defaults.
func NewTeaCache() *TeaCache { return &TeaCache{Threshold: 0.15} }

// maxCoefficients bounds the polynomial: the method's is of degree 4.
const maxCoefficients = 5

// String returns the policy as Parse takes it.
func (p *TeaCache) String() string { return paramText("teacache", p) }

func (p *TeaCache) written() []string {
	names := []string{"threshold"}
	if len(p.Coefficients) > 0 {
		names = append(names, "coefficients")
	}
	if p.High > 0 {
		names = append(names, "low", "high")
	}
	return names
}

// Set changes one parameter.
func (p *TeaCache) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *TeaCache) Validate() error {
	switch {
	case len(p.Coefficients) > maxCoefficients:
		return fmt.Errorf("%d coefficients: want up to %d, a polynomial of degree %d",
			len(p.Coefficients), maxCoefficients, maxCoefficients-1)
	case p.High > 0 && p.Low > p.High:
		return fmt.Errorf("low=%g, high=%g: want the bounds of a range", p.Low, p.High)
	}
	return checkParams(p)
}

// Kind implements Described.
func (p *TeaCache) Kind() Kind { return SkipsSteps }

// Granularity implements Described.
func (p *TeaCache) Granularity() Granularity { return ByStep }

// expected returns the change of the output that the polynomial expects of a change of the input, 0
// or more.
func (p *TeaCache) expected(change float64) float64 {
	if len(p.Coefficients) == 0 {
		return change
	}
	if p.High > 0 {
		change = min(max(change, p.Low), p.High)
	}
	sum := 0.0
	for _, c := range slices.Backward(p.Coefficients) {
		sum = sum*change + c
	}
	if sum < 0 {
		return 0
	}
	return sum
}

// CacheBytes implements Policy.
func (p *TeaCache) CacheBytes(model seam.Model, _ Plan, samples int) (int64, error) {
	if err := p.Validate(); err != nil {
		return 0, named("teacache", err)
	}
	m := model.Shape()
	return residualBytes(m, 0, m.Blocks, samples) + 4*int64(samples)*int64(m.Tokens)*int64(m.Width), nil
}

// NewRun implements Policy.
func (p *TeaCache) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("teacache", err)
	}
	m := model.Shape()
	rows := samples * m.Tokens
	return &teaRun{
		policy: p,
		tokens: m.Tokens,
		width:  m.Width,
		steps:  plan.Steps(),
		all:    newResidual(m, 0, m.Blocks, samples),
		before: newRows(rows, m.Width),
		change: newRelativeChange(samples, m.Tokens),
		sum:    make([]float64, samples),
		action: make([]residualAction, samples),
		index:  make([]int32, 0, rows),
	}, nil
}

// teaRun is the state of a TeaCache.
type teaRun struct {
	policy               *TeaCache
	g                    *tensor.Graph
	tokens, width, steps int
	all                  *residual      // of all blocks
	before               *tensor.Tensor // the first block's modulated input at the last step, [rows, D]
	change               *relativeChange
	sum                  []float64 // of each sample: the changes since everything was computed
	stats                Cost

	positions []int
	action    []residualAction // of each sample
	index     []int32          // rows of samples that compute
}

// Begin implements Run.
func (r *teaRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
}

// Sites implements seam.Reuse.
func (r *teaRun) Sites() seam.Sites { return seam.SitesOf(seam.Block, seam.Attention, seam.MLP) }

// Apply implements seam.Reuse. Samples decide at the first block's attention, where the modulated
// input is known. The first block adds nothing to those that skip.
func (r *teaRun) Apply(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	switch {
	case at.Part == seam.Block:
		return r.whole(at.Block, x, f)
	case at.Block == 0 && at.Part == seam.Attention:
		r.decide(x.ModulatedInput(r.g))
		return r.first(x, f)
	case at.Block == 0 && at.Part == seam.MLP:
		return r.first(x, f)
	}
	return f(x)
}

func (r *teaRun) whole(block int, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	r.stats.Rows += int64(x.X.Rows)
	var y *seam.Tokens
	if block == 0 {
		// Which samples record is not known yet. To keep the entry of the others does no harm.
		for s := range r.positions {
			r.action[s] = recordResidual
		}
		r.all.before(r.g, block, x.X, r.action)
		y = f(x)
	} else {
		r.all.before(r.g, block, x.X, r.action)
		y = computeRows(r.g, x, r.index, f)
	}
	r.stats.ComputedRows += int64(len(r.index))
	r.all.after(r.g, block, y.X, r.action)
	return y
}

// decide sets what each sample does, given the modulated input.
func (r *teaRun) decide(now *tensor.Tensor) {
	before := r.g.RowRange(r.before, 0, now.Rows)
	r.change.compare(r.g, now, before)
	for s, p := range r.positions {
		r.sum[s] += r.policy.expected(r.change.of(s))
		if p > 0 && p < r.steps-1 && r.sum[s] < r.policy.Threshold {
			r.action[s] = reuseResidual
			r.stats.PSteps++
		} else {
			r.action[s], r.sum[s] = recordResidual, 0
			r.stats.ISteps++
		}
	}
	r.index = rowsOfSamples(r.index[:0], len(r.positions), r.tokens, func(s int) bool {
		return r.action[s] == recordResidual
	})
	r.g.EachRow(now.Rows, r.width, func(i int) { copy(before.Row(i), now.Row(i)) })
}

// first computes a branch of the first block for the samples that compute, and 0 for the others.
func (r *teaRun) first(x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	if len(r.index) == x.X.Rows {
		return f(x)
	}
	out := r.g.New(x.X.Rows, r.width)
	clear(out.Data)
	if len(r.index) > 0 {
		r.g.Scatter(out, r.index, f(x.Gather(r.g, r.index)).X)
	}
	return x.With(out)
}

// Reset implements Run: the first step computes everything, so nothing of before is used.
func (r *teaRun) Reset() {}

// Stats implements Run.
func (r *teaRun) Stats() Cost { return r.stats }
