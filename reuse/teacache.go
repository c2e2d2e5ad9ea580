package reuse

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// TeaCache skips all blocks while their input changes little ("Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model", arXiv 2411.19108). It watches the modulated input of
// the first block's attention, which costs next to nothing: its relative L1 change from step to step, mapped by a polynomial to the change that is to be expected of the output, is
// added up, and as long as the sum is below Threshold the tokens get what all blocks together added last. Then everything is computed, and the sum begins anew. The first step and the last
// are always computed. The public code averages over the batch; here every sample decides for itself.
type TeaCache struct {
	Threshold float64 `json:"threshold"`

	// Coefficients are those of the polynomial, that of degree 0 first; none is the identity. They are fitted to a model and its sampler by calibration.
	Coefficients []float64 `json:"coefficients,omitempty"`

	// Low and High are the least and the largest change that they were fitted to; changes beyond count as these. High of 0 is no bound.
	Low  float64 `json:"low,omitempty"`
	High float64 `json:"high,omitempty"`
}

// mostCoefficients bounds the polynomial: the method's is of degree 4.
const mostCoefficients = 5

// String returns the policy as Parse takes it.
func (p *TeaCache) String() string {
	text := fmt.Sprintf("teacache:threshold=%g", p.Threshold)
	if len(p.Coefficients) > 0 {
		var list []string
		for _, c := range p.Coefficients {
			list = append(list, strings.Replace(strconv.FormatFloat(c, 'g', -1, 64), "e+", "e", 1))
		}
		text += ",coefficients=" + strings.Join(list, "+")
	}
	if p.High > 0 {
		text += fmt.Sprintf(",low=%g,high=%g", p.Low, p.High)
	}
	return text
}

// Set changes one parameter.
func (p *TeaCache) Set(key, value string) error {
	var err error
	switch key {
	case "threshold":
		p.Threshold, err = strconv.ParseFloat(value, 64)
	case "low":
		p.Low, err = strconv.ParseFloat(value, 64)
	case "high":
		p.High, err = strconv.ParseFloat(value, 64)
	case "coefficients":
		p.Coefficients = nil
		for _, s := range strings.Split(value, "+") {
			c := 0.0
			if c, err = strconv.ParseFloat(s, 64); err != nil {
				break
			}
			p.Coefficients = append(p.Coefficients, c)
		}
	default:
		return fmt.Errorf("teacache has no parameter %q: want threshold, coefficients, low or high", key)
	}
	if err != nil {
		return fmt.Errorf("teacache: %s=%s: not a value of that parameter", key, value)
	}
	return nil
}

// Validate reports parameters that have no meaning.
func (p *TeaCache) Validate() error {
	switch {
	case !(p.Threshold >= 0):
		return fmt.Errorf("threshold=%g: want 0 or more", p.Threshold)
	case len(p.Coefficients) > mostCoefficients:
		return fmt.Errorf("%d coefficients: want at most %d, a polynomial of degree %d", len(p.Coefficients), mostCoefficients, mostCoefficients-1)
	case !(p.Low >= 0 && p.High >= 0) || p.High > 0 && p.Low > p.High:
		return fmt.Errorf("low=%g, high=%g: want the bounds of a range from 0 up", p.Low, p.High)
	}
	for _, c := range p.Coefficients {
		if math.IsNaN(c) || math.IsInf(c, 0) {
			return fmt.Errorf("a coefficient of %g: want numbers", c)
		}
	}
	return nil
}

// expected returns the change of the output that the polynomial expects of a change of the input; no change is less than none.
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
		return 0, fmt.Errorf("teacache: %w", err)
	}
	m := model.Shape()
	return spanBytes(m, 0, m.Blocks, samples) + 4*int64(samples)*int64(m.Tokens)*int64(m.Width), nil
}

// NewRun implements Policy.
func (p *TeaCache) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("teacache: %w", err)
	}
	m := model.Shape()
	rows := samples * m.Tokens
	r := &teaRun{policy: p, tokens: m.Tokens, width: m.Width, steps: plan.Steps()}
	r.stack = newSpan(m, 0, m.Blocks, samples)
	r.before = tensor.FromSlice(make([]float32, rows*m.Width), rows, m.Width)
	r.change = newRelativeChange(samples, m.Tokens, m.Width)
	r.sum, r.action = make([]float64, samples), make([]spanAction, samples)
	r.index = make([]int32, 0, rows)
	return r, nil
}

// teaRun is the state of a TeaCache.
type teaRun struct {
	policy               *TeaCache
	g                    *tensor.Graph
	tokens, width, steps int
	stack                *span
	before               *tensor.Tensor // the first block's modulated input at the last step, [rows, D]
	change               *relativeChange
	sum                  []float64 // of each sample: the changes since everything was computed
	stats                Cost

	positions []int
	action    []spanAction // of each sample
	index     []int32      // rows of samples that compute
}

// Begin implements Run.
func (r *teaRun) Begin(g *tensor.Graph, _ *seam.Batch, positions []int) {
	r.g, r.positions = g, positions
}

// Sites implements seam.Reuse.
func (r *teaRun) Sites() seam.Sites { return seam.SitesOf(seam.Block, seam.Attention, seam.MLP) }

// Apply implements seam.Reuse. The first block's attention is where the modulated input is seen, and where samples decide: the first block adds nothing to those that skip.
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
		// Which samples record is not known yet. To keep what the others have here does no harm: their update stays.
		for s := range r.positions {
			r.action[s] = recordSpan
		}
		r.stack.enter(r.g, block, x.X, r.action)
		y = f(x)
	} else {
		r.stack.enter(r.g, block, x.X, r.action)
		y = some(r.g, x, r.index, f)
	}
	r.stats.ComputedRows += int64(len(r.index))
	r.stack.leave(r.g, block, y.X, r.action)
	return y
}

// decide sets what each sample does, given the modulated input.
func (r *teaRun) decide(now *tensor.Tensor) {
	before := r.g.RowRange(r.before, 0, now.Rows)
	r.change.compare(r.g, now, before)
	for s, p := range r.positions {
		r.sum[s] += r.policy.expected(r.change.of(s))
		if p > 0 && p < r.steps-1 && r.sum[s] < r.policy.Threshold {
			r.action[s] = reuseSpan
			r.stats.PSteps++
		} else {
			r.action[s], r.sum[s] = recordSpan, 0
			r.stats.ISteps++
		}
	}
	r.index = rowsOfSamples(r.index[:0], len(r.positions), r.tokens, func(s int) bool { return r.action[s] == recordSpan })
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
