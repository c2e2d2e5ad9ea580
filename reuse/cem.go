package reuse

import "github.com/tokencache/tokencache/seam"

// CEM is DuCa with full steps that are planned beforehand ("Plug-and-Play Fidelity Optimization for
// Diffusion Transformer Acceleration via Cumulative Error Minimization", arXiv 2512.23258). Of the
// steps after a full one the first, third, fifth and so on are partial, as ToCa's are, and the
// others skip all blocks and take what the last block put out at the step before. Calibration
// chooses the full steps by dynamic programming over the accumulated changes of that output;
// without a list they are evenly spaced.
//
// A token's score at a partial step is as ToCa's, but a quarter of its age whatever the interval.
type CEM struct {
	KeySteps `policy:"inline"`

	Ratio     float64 `json:"ratio" policy:"ratio" min:"0" max:"1" help:"share of tokens whose MLP a partial step computes"`
	Scheduler string  `json:"scheduler" policy:"scheduler" values:"constant|ddim50|ddpm250" help:"how the ratio varies over the steps"`
	Bonus     float64 `json:"bonus" policy:"bonus" min:"0" help:"share by which the score of the best token of each 2x2 cell is raised"`
}

// NewCEM returns a CEM with its defaults.
func NewCEM() *CEM {
	return &CEM{
		KeySteps:  KeySteps{Interval: 3, Warmup: 1},
		Ratio:     0.05,
		Scheduler: DDIM50Ratio,
		Bonus:     0.8,
	}
}

// String returns the policy as Parse takes it.
func (p *CEM) String() string { return paramText("cem", p) }

func (p *CEM) written() []string { return append(p.names(), "ratio", "scheduler", "bonus") }

// idle implements idler: without a ratio partial steps compute no token.
func (p *CEM) idle() []string { return idleOfRatio(p.Ratio) }

// Set changes one parameter.
func (p *CEM) Set(key, value string) error { return setParam(p, key, value) }

// Validate reports parameters that have no meaning.
func (p *CEM) Validate() error {
	if err := checkParams(p); err != nil {
		return err
	}
	return p.check()
}

// Kind implements Described.
func (p *CEM) Kind() Kind { return Caches }

// Granularity implements Described.
func (p *CEM) Granularity() Granularity { return ByToken }

// rules returns what the policy's runs go by.
func (p *CEM) rules(plan Plan) (rules tocaRules, err error) {
	if err := p.Validate(); err != nil {
		return rules, named("cem", err)
	}
	full, err := p.resolve(plan.Steps())
	if err != nil {
		return rules, named("cem", err)
	}
	kinds := make([]blockKind, len(full))
	since := 0 // the last full step
	for position, is := range full {
		switch {
		case is:
			since = 0
		case since%2 == 1:
			kinds[position] = partialBlock
		default:
			kinds[position] = skippedBlock
		}
		since++
	}
	return tocaRules{
		kind:      func(_, position int, _ *int) blockKind { return kinds[position] },
		full:      func(position int) bool { return full[position] },
		ratio:     p.Ratio,
		scheduler: p.Scheduler,
		bonus:     float32(p.Bonus),
		period:    1,
		skips:     true,
	}, nil
}

// CacheBytes implements Policy.
func (p *CEM) CacheBytes(model seam.Model, plan Plan, samples int) (int64, error) {
	_, err := p.rules(plan)
	return tocaBytes(model.Shape(), samples, true), err
}

// Shares implements Scheduled.
func (p *CEM) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	rules, err := p.rules(plan)
	if err != nil {
		return nil, err
	}
	return rules.shares(m, plan), nil
}

// NewRun implements Policy.
func (p *CEM) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	rules, err := p.rules(plan)
	if err != nil {
		return nil, err
	}
	return newTocaRun(rules, model.Shape(), plan, samples), nil
}
