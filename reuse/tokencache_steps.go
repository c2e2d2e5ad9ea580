package reuse

import (
	"fmt"
	"math"
	"slices"
)

// StepKind is a way to choose the I-steps, at which everything is computed; the others are P-steps.
type StepKind string

const (
	// UniformSteps makes every K1-th step an I-step.
	UniformSteps StepKind = "uniform"
	// TPRR is the Two-Phase Round-Robin of the first version: K1 is the period up to the boundary,
	// K2 from there on.
	TPRR StepKind = "tprr"
	// ListedSteps takes the I-steps from a list, as calibration makes them.
	ListedSteps StepKind = "list"
)

// StepChoice says which steps are I-steps. The first always is.
type StepChoice struct {
	Kind StepKind `json:"kind" policy:"steps" values:"uniform|tprr|list" help:"how I-steps are chosen"`
	K1   int      `json:"k1,omitempty" policy:"k,k1" min:"1" help:"period of I-steps; with steps=tprr, of the first phase"`
	K2   int      `json:"k2,omitempty" policy:"k2" min:"1" default:"" help:"with steps=tprr: period of I-steps in the second phase"`

	// Boundary is the share of the steps that are in the first phase of TPRR. There is no default.
	Boundary float64 `json:"boundary,omitempty" policy:"boundary" above:"0" max:"1" default:"" help:"with steps=tprr: share of the steps in the first phase"`
	Warmup   int     `json:"warmup,omitempty" policy:"warmup" min:"0" help:"I-steps at the start, the history of forecasts"`
	List     []int   `json:"list,omitempty" policy:"i" min:"0" help:"with steps=list: positions of the I-steps, as in 0+3+7"`
	// Half are the positions of half steps, at which only guidance's conditional half is computed
	// (beyond the paper).
	Half []int `json:"half,omitempty" policy:"half" min:"0" help:"positions of the steps that compute only the conditional half of guidance"`
}

// halves returns for each of steps positions whether it is a half step.
func (c StepChoice) halves(steps int, full []bool) ([]bool, error) {
	half := make([]bool, steps)
	for _, p := range c.Half {
		if p < 0 || p >= steps {
			return nil, fmt.Errorf("a half step at position %d: the plan has %d steps", p, steps)
		}
		if full[p] {
			return nil, fmt.Errorf("position %d is both an I-step and a half step", p)
		}
		half[p] = true
	}
	return half, nil
}

// resolve returns for each of steps positions whether it is an I-step.
func (c StepChoice) resolve(steps int) ([]bool, error) {
	full := make([]bool, steps)
	every := func(from, to, period int) {
		for p := from; p < to; p += min(period, steps) {
			full[p] = true
		}
	}
	switch {
	case c.Kind == UniformSteps && c.K1 >= 1:
		every(0, steps, c.K1)
	case c.Kind == TPRR && c.K1 >= 1 && c.K2 >= 1 && c.Boundary > 0 && c.Boundary <= 1:
		boundary := int(math.Round(c.Boundary * float64(steps)))
		every(0, boundary, c.K1)
		every(boundary, steps, c.K2)
	case c.Kind == ListedSteps:
		for _, p := range c.List {
			if p < 0 || p >= steps {
				return nil, fmt.Errorf("an I-step at position %d: the plan has %d steps", p, steps)
			}
			full[p] = true
		}
	default:
		return nil, fmt.Errorf(
			"steps=%s with periods %d and %d and boundary %g: want %s, %s or %s, periods of 1 or more, a boundary above 0 and up to 1",
			c.Kind, c.K1, c.K2, c.Boundary, UniformSteps, TPRR, ListedSteps)
	}
	for p := range min(max(c.Warmup, 1), steps) {
		full[p] = true
	}
	return full, nil
}

// TokenSteps says which P-steps compute tokens.
type TokenSteps string

const (
	// EveryPStep computes the same share at every P-step. It is what "" means.
	EveryPStep TokenSteps = "every"
	// LastPSteps computes as many tokens in all, but at the last P-steps before each I-step, where
	// forecasts err by far the most, and there up to all of them.
	LastPSteps TokenSteps = "last"
)

// stepRatios returns for each position the share of pairs that is computed at a P-step there, given
// the I-steps; it is 1 at I-steps.
func (t *TokenCache) stepRatios(full []bool) []float64 {
	ratios := make([]float64, len(full))
	for p := 0; p < len(full); p++ {
		if full[p] {
			ratios[p] = 1
			continue
		}
		end := p // of the P-steps up to the next I-step
		for end < len(full) && !full[end] {
			end++
		}
		left := t.Ratio * float64(end-p)
		for q := end - 1; q >= p; q-- {
			if ratios[q] = t.Ratio; t.At == LastPSteps {
				ratios[q] = min(left, 1)
				left = max(0, left-1)
			}
		}
		p = end - 1
	}
	return ratios
}

// StepRatios returns for each of steps positions the share of pairs of block and token that is
// computed there.
func (t *TokenCache) StepRatios(steps int) ([]float64, error) {
	full, err := t.Steps.resolve(steps)
	if err != nil {
		return nil, err
	}
	return t.stepRatios(full), nil
}

// ISteps lists the positions of the I-steps of a run of steps steps.
func (c StepChoice) ISteps(steps int) ([]int, error) {
	full, err := c.resolve(steps)
	var list []int
	for p, is := range full {
		if is {
			list = append(list, p)
		}
	}
	return list, err
}

// PercentileSteps puts count I-steps at equal percentiles of mass, a weight for each step, as the
// second version does with the summed importance of each step. The first step is one of them.
func PercentileSteps(mass []float64, count int) []int {
	total := 0.0
	for _, m := range mass {
		total += m
	}
	var list []int
	sum, next := 0.0, 0
	for p, m := range mass {
		if len(list) < count && sum >= total*float64(next)/float64(count) {
			list = append(list, p)
			for next <= count && sum >= total*float64(next)/float64(count) {
				next++
			}
		}
		sum += m
	}
	for p := 0; len(list) < min(count, len(mass)); p++ { // where several percentiles fell on one step
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}
