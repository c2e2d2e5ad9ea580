package redundancy

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// Tokens says whether it pays to compute a share of the tokens at P-steps, instead of spending the
// same on more I-steps.
//
// All runs forecast each block's updates by Newton's polynomial through the last Order+1 times that
// they were computed, and have their I-steps at position 1 and at equal distances from 0 on. Cost
// counts passes of an image; a token counts as much at a P-step as at an I-step, 1/N of a pass, and
// choosing it, its keys and its gathering nothing, so that tokens look better than they are. Tokens
// of a text are computed next to any of the image. PSNR is that of the final latents to the
// uncached run's from the same noise, 10·log10(4/MSE), the mean over images; for a model of pixels
// in [-1,1] it is the images' before rounding.
//
// The break-even. Let D(c) be the error of a run that computes whole steps only, at cost c. Tokens
// take the cost from c to c' = c + Ratio·(P-steps). If a share s of the squared forecast error
// goes, the error falls from D(c) to (1-s)·D(c). More I-steps at the same cost would bring it to
// D(c'). So tokens pay from
//
//	s = 1 - D(c')/D(c) = 1 - 10^(-(PSNR(c')-PSNR(c))/10)
//
// on. PSNR(c') lies between two numbers of I-steps on their line.
type Tokens struct {
	Ratio  float64 `json:"ratio"` // share of each block's tokens that P-steps compute
	Order  int     `json:"order"`
	ISteps int     `json:"i_steps"`
	Cost   float64 `json:"cost"` // c', in passes

	// BreakEven is the share of the squared forecast error that the worst tokens, a share Ratio,
	// must hold; nil where c' leaves no step to forecast.
	BreakEven *float64 `json:"break_even,omitempty"`
	// OracleGain is the PSNR of the run whose P-steps compute the truly worst tokens of each block,
	// the same in guidance's halves, with exact keys and values, less PSNR(c'): what tokens gain at
	// best over more I-steps at equal cost. nil as BreakEven.
	OracleGain *float64 `json:"oracle_gain_db,omitempty"`

	PSNR      float64         `json:"psnr_db"`                           // PSNR(c): P-steps compute nothing
	EqualCost *float64        `json:"equal_cost_psnr_db,omitempty"`      // PSNR(c')
	Curve     []CurvePoint    `json:"i_step_curve"`                      // PSNR by the number of I-steps
	Rankings  []RankingResult `json:"rankings"`                          // the oracle first
	Whole     Concentration   `json:"concentration_of_blocks_together"`  // of the sum of a token's errors, by the oracle
	Block     []float64       `json:"concentration_of_block"`            // at Ratio, by the oracle
	Step      []StepShare     `json:"concentration_of_step"`             // likewise, of each P-step
	Front     Concentration   `json:"concentration_of_the_front_blocks"` // of the first half of the blocks
	Back      Concentration   `json:"concentration_of_the_back_blocks"`  // of the rest

	// BlockStep is the concentration by the oracle in each block at each P-step, [step][block]; nil at
	// I-steps, where nothing is forecast.
	BlockStep [][]Concentration `json:"concentration_of_block_and_step"`

	tally *tally
}

// StepShare is the share of the squared forecast error at a P-step that the worst tokens hold.
type StepShare struct {
	Step  int     `json:"step"`
	Share float64 `json:"share"`
}

// CurvePoint is a run whose P-steps compute nothing.
type CurvePoint struct {
	ISteps int     `json:"i_steps"`
	PSNR   float64 `json:"psnr_db"`
}

// RankingResult is what a ranking finds, and what computing the tokens that it puts first gains.
type RankingResult struct {
	Ranking       Ranking       `json:"ranking"`
	Concentration Concentration `json:"concentration"`
	// BlockStep is as Tokens.BlockStep, which has the oracle's.
	BlockStep [][]Concentration `json:"concentration_of_block_and_step,omitempty"`
	PSNR      float64           `json:"psnr_db"`
	// OverRandom is the PSNR less that of a random choice of as many tokens; Gain is it less
	// PSNR(c'), nil as Tokens.BreakEven.
	OverRandom float64  `json:"over_random_db"`
	Gain       *float64 `json:"gain_db,omitempty"`
}

// tokenSettings are what is examined.
type tokenSettings struct {
	iSteps, order int
	ratio         float64
}

// settingsFor returns what is examined next to a policy: as many I-steps as it has, its order and
// its ratio, where it forecasts and chooses tokens, else a quarter at first order and every third
// step.
func settingsFor(policy reuse.Policy, iSteps, steps int) tokenSettings {
	s := tokenSettings{iSteps: iSteps, order: 1, ratio: 0.25}
	if t := tokenCacheOf(policy); t != nil {
		if t.Ratio > 0 && t.Ratio < 1 {
			s.ratio = t.Ratio
		}
		s.order = max(t.Order, 1)
	}
	if iSteps < 2 || iSteps >= steps {
		s.iSteps = (steps-2)/3 + 2
	}
	return s
}

// evenly returns n I-steps of some steps: 1, as first order needs two, and the others at equal
// distances from 0 on.
func evenly(n, steps int) []bool {
	full := make([]bool, steps)
	full[1] = true
	others := n - 1
	if 2*steps < 3*others { // 1 is one of them
		others = n
	}
	for j := range others {
		full[int(math.Round(float64(j*steps)/float64(others)))] = true
	}
	return full
}

// tokenStudy makes Tokens.
type tokenStudy struct {
	Options
	tokenSettings
	p        *tokencache.Pipeline
	steps    int
	uncached [][]float32
}

// minSteps is how many steps there must be: two I-steps, and one to forecast.
const minSteps = 3

// MeasureTokens examines how concentrated forecasts' errors are and what computing the worst tokens
// gains; o.Policy and the number of its I-steps say at which settings. It returns nil for fewer
// than three steps.
func MeasureTokens(ctx context.Context, p *tokencache.Pipeline, o Options, iSteps int) (*Tokens, error) {
	plan, err := p.Plan(o.Request.Sampling)
	if err != nil || plan.Steps() < minSteps {
		return nil, err
	}
	s := &tokenStudy{Options: o, p: p, steps: plan.Steps()}
	s.tokenSettings = settingsFor(o.Policy, iSteps, s.steps)
	t := &Tokens{Ratio: s.ratio, Order: s.order, ISteps: s.iSteps, tally: newTally(p.Shape().Blocks, s.steps)}
	t.Cost = float64(s.iSteps) + s.computed()*float64(s.steps-s.iSteps)

	s.stage("comparing forecasts of order %d with %s", s.order, count(o.Request.Images()))
	if s.uncached, err = s.run(ctx, &probe{full: evenly(s.iSteps, s.steps), order: s.order, tally: t.tally}); err != nil {
		return nil, err
	}
	t.concentrate()
	if err := s.curve(ctx, t); err != nil {
		return nil, err
	}
	return t, s.rankings(ctx, t)
}

// computed is the share of all tokens that a P-step computes: of the image's the ratio, and a
// text's.
func (s *tokenStudy) computed() float64 {
	m := s.p.Shape()
	if m.Text == 0 {
		return s.ratio
	}
	return (s.ratio*float64(m.Image()) + float64(m.Text)) / float64(m.Tokens)
}

// concentrate fills in the concentrations.
func (t *Tokens) concentrate() {
	of := t.tally
	for _, by := range Rankings() {
		t.Rankings = append(t.Rankings, RankingResult{
			Ranking:       by,
			Concentration: of.sum(by, everywhere).concentration(),
		})
		if byStep := of.byBlockAndStep(by); by == ByError {
			t.BlockStep = byStep
		} else {
			t.Rankings[len(t.Rankings)-1].BlockStep = byStep
		}
	}
	t.Whole = of.whole.concentration()
	half := of.blocks / 2
	t.Front = of.sum(ByError, func(block, _ int) bool { return block < half }).concentration()
	t.Back = of.sum(ByError, func(block, _ int) bool { return block >= half }).concentration()
	for l := range of.blocks {
		t.Block = append(t.Block, of.sum(ByError, func(block, _ int) bool { return block == l }).share(t.Ratio))
	}
	for p := range of.steps {
		if h := of.sum(ByError, func(_, step int) bool { return step == p }); h.all > 0 {
			t.Step = append(t.Step, StepShare{p, h.share(t.Ratio)})
		}
	}
}

// curve measures PSNR(c) and PSNR(c'), and one number of I-steps between them.
func (s *tokenStudy) curve(ctx context.Context, t *Tokens) error {
	low, high := int(math.Floor(t.Cost)), int(math.Ceil(t.Cost))
	numbers := []int{s.iSteps, (s.iSteps + low) / 2, low, high}
	for _, n := range slices.Compact(numbers) {
		if n >= s.steps {
			break // nothing would be forecast
		}
		s.stage("%d I-steps of %d", n, s.steps)
		psnr, err := s.psnr(ctx, &probe{full: evenly(n, s.steps), order: s.order})
		if err != nil {
			return err
		}
		t.Curve = append(t.Curve, CurvePoint{n, psnr})
	}
	t.PSNR = t.Curve[0].PSNR
	if high >= s.steps {
		return nil
	}
	last := t.Curve[len(t.Curve)-1].PSNR
	before := last
	for _, c := range t.Curve {
		if c.ISteps == low {
			before = c.PSNR
		}
	}
	equal := before + (t.Cost-float64(low))*(last-before)
	breakEven := 1 - math.Pow(10, -(equal-t.PSNR)/10)
	t.EqualCost, t.BreakEven = &equal, &breakEven
	return nil
}

// rankings measures the runs that compute tokens.
func (s *tokenStudy) rankings(ctx context.Context, t *Tokens) error {
	for i := range t.Rankings {
		r := &t.Rankings[i]
		s.stage("computing %g %% of the tokens by %s", 100*s.ratio, r.Ranking)
		var err error
		if r.PSNR, err = s.psnr(ctx, &probe{
			full:  evenly(s.iSteps, s.steps),
			order: s.order,
			share: s.ratio,
			rank:  r.Ranking,
		}); err != nil {
			return err
		}
		if t.EqualCost != nil {
			gain := r.PSNR - *t.EqualCost
			r.Gain = &gain
		}
	}
	t.OracleGain = t.Rankings[0].Gain
	random := t.Rankings[len(t.Rankings)-1].PSNR
	for i := range t.Rankings {
		t.Rankings[i].OverRandom = t.Rankings[i].PSNR - random
	}
	return nil
}

// run generates the images with a policy and returns their latents.
func (s *tokenStudy) run(ctx context.Context, policy *probe) ([][]float32, error) {
	req := s.request()
	m := s.p.Shape()
	bytes := probeBytes(m.Blocks, 2*m.Tokens, m.Width, s.order)
	req.Policy, req.CacheMemory, req.Batch = policy, 0, batch(req.Images(), bytes)
	latents := make([][]float32, req.Images())
	req.OnImage = func(m tokencache.Image) error { latents[m.Index] = m.Latents; return nil }
	_, err := s.p.Generate(ctx, req)
	return latents, err
}

// psnr generates the images with a policy and compares them with the uncached ones.
func (s *tokenStudy) psnr(ctx context.Context, policy *probe) (float64, error) {
	latents, err := s.run(ctx, policy)
	if err != nil {
		return 0, err
	}
	const span, identical = 2, 100 // identical latents count as 100 dB
	mean := 0.0
	for i, x := range latents {
		sum := 0.0
		for j, v := range x {
			d := float64(v) - float64(s.uncached[i][j])
			sum += d * d
		}
		db := min(identical, 10*math.Log10(span*span*float64(len(x))/sum))
		mean += db / float64(len(latents))
	}
	return mean, nil
}

// Advice says in a sentence whether tokens pay.
func (t *Tokens) Advice() string {
	percent := func(x float64) string { return fmt.Sprintf("%.0f %%", 100*x) }
	held := t.tally.sum(ByError, everywhere).share(t.Ratio)
	if t.BreakEven == nil {
		return fmt.Sprintf("At %d I-steps of %d so few steps are left that no tokens can be cheaper than "+
			"computing them all.", t.ISteps, t.tally.steps)
	}
	found := fmt.Sprintf("the worst %s of a block's tokens hold %s of the squared forecast error, where %s is needed",
		percent(t.Ratio), percent(held), percent(*t.BreakEven))
	if *t.OracleGain <= 0 {
		return fmt.Sprintf("Do not compute tokens at P-steps, compute more steps: %s, and even an oracle that "+
			"computes the worst ones stays %.1f dB below more I-steps at the same cost.", found, -*t.OracleGain)
	}
	best := t.Rankings[1]
	for _, r := range t.Rankings[2:] {
		if *r.Gain > *best.Gain {
			best = r
		}
	}
	if *best.Gain > 0 {
		return fmt.Sprintf("Compute tokens at P-steps: %s; ranked by %s they gain %.1f dB over more I-steps at the "+
			"same cost, of the %.1f dB that an oracle would.", found, best.Ranking, *best.Gain, *t.OracleGain)
	}
	return fmt.Sprintf("Compute more steps unless the worst tokens can be predicted: %s; an oracle gains %.1f dB "+
		"over more I-steps at the same cost, but ranked by %s they lose %.1f dB.",
		found, *t.OracleGain, best.Ranking, -*best.Gain)
}
