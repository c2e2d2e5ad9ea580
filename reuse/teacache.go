package reuse

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/seam"
)

// TeaCache skips all blocks while their input changes little ("Timestep Embedding Tells: It's Time
// to Cache for Video Diffusion Model", arXiv 2411.19108). It looks at the modulated input of the
// first block's attention, which costs next to nothing. The relative L1 change of that from step to
// step, mapped by a polynomial to the expected change of the output, is added up. As long as the
// sum is below Threshold the tokens get the residual of all blocks; then everything is computed,
// and the sum begins anew. The first and the last step are always full. The public code averages
// over the batch; here every sample decides for itself, or with the other half of its image.
type TeaCache struct {
	Threshold float64 `json:"threshold" policy:"threshold" min:"0" help:"sum of changes from which on everything is computed"`

	// Coefficients are those of the polynomial, that of degree 0 first; none is the identity.
	// Calibration finds them for a model and its sampler.
	Coefficients []float64 `json:"coefficients,omitempty" policy:"coefficients" default:"none" help:"coefficients of the polynomial, constant first: c0+c1+..."`

	// Low and High are the smallest and the largest change that the coefficients were found from;
	// changes beyond count as these. High of 0 is no bound.
	Low  float64 `json:"low,omitempty" policy:"low" min:"0" help:"lower bound of the changes; smaller ones count as this"`
	High float64 `json:"high,omitempty" policy:"high" min:"0" help:"upper bound of the changes; larger ones count as this; 0: no low or high"`

	// Halves is SeparateHalves, also if empty, or JointHalves.
	Halves string `json:"halves,omitempty" policy:"halves" values:"separate|joint" empty:"separate" help:"how guidance's two halves decide"`
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
	if p.Halves == JointHalves {
		names = append(names, "halves")
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

// expected returns the change of the output that the polynomial expects of a change of the input.
// Where the polynomial is negative so is this, as in the public code.
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
	return sum
}

// CacheBytes implements Policy.
func (p *TeaCache) CacheBytes(m seam.Model, _ Plan, samples int) (int64, error) {
	return changeRunBytes(m.Shape(), samples), named("teacache", p.Validate())
}

// NewRun implements Policy.
func (p *TeaCache) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	if err := p.Validate(); err != nil {
		return nil, named("teacache", err)
	}
	rule := changeRule{
		threshold: p.Threshold,
		warmup:    1,
		joint:     p.Halves == JointHalves,
		expected:  p.expected,
	}
	return newChangeRun(rule, m.Shape(), plan, samples), nil
}
