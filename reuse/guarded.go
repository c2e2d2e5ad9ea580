package reuse

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// Guarded is a policy whose forecasts are checked, image by image. The policy's steps compute
// everything or nothing, and which is known beforehand. At a P-step p its prediction, after
// guidance, is compared with another forecast, the line through the predictions at the last two
// computed steps: their difference, d_p, is an embedded error estimate as solvers of ordinary
// differential equations have (Hairer, Nørsett, Wanner, "Solving Ordinary Differential Equations
// I", section II.4). With the noise relative to the signal s_p, the error that the step leaves in
// the finished image is taken to be
//
//	e_p = (s_p - s_{p+1})·|d_p|·sqrt(S/(S+s²_{p+1}))
//
// as in y = x·sqrt(1+s²) a step of the probability-flow ODE adds (s_{p+1}-s_p)·epsilon, of which
// the rest of the way leaves that share if the image's values are Gaussian of variance S. The
// squares, means over the values of the latents, are summed over the steps. The image's estimated
// PSNR is
//
//	10·log10(4 / sum of e²_p) + Offset.
//
// A P-step is rejected if the sum would exceed what Tolerance allows. Then the model runs again,
// and the step is computed; and so is every step after it, as learned forecasts undo the errors of
// those before them, and computing some steps in between makes images worse. SpeCa (arXiv
// 2509.11628) verifies by the last block instead, which takes a block's time at each P-step.
type Guarded struct {
	Policy    Policy
	MinPSNR   float64 // what is promised, dB; 0: nothing is
	Tolerance float64 // dB, without the Offset
	Offset    float64 // dB: see ContractPoint
}

// dataVariance is S, about the variance of images in [-1,1]. On the bundled DiT the estimates of
// 0.1 and 0.3 agree best with the true PSNR, of 0.1, 0.3, 1 and infinity.
const dataVariance = 0.3

// String implements Policy.
func (p *Guarded) String() string {
	if p.MinPSNR == 0 {
		return fmt.Sprintf("%s checked with a tolerance of %g dB", p.Policy, p.Tolerance)
	}
	return fmt.Sprintf("%s with a PSNR of at least %g dB", p.Policy, p.MinPSNR)
}

// ContentHash implements ContentHasher.
func (p *Guarded) ContentHash() string {
	return fmt.Sprintf("%s checked with %g", ContentHash(p.Policy), p.Tolerance)
}

// Kind implements Described.
func (p *Guarded) Kind() Kind {
	if d, ok := p.Policy.(Described); ok {
		return d.Kind()
	}
	return Extrapolates
}

// Granularity implements Described.
func (p *Guarded) Granularity() Granularity { return ByStep }

// Shares implements Scheduled: those of the policy, which hold unless steps are rejected.
func (p *Guarded) Shares(m *seam.Shape, plan Plan) ([]float64, error) { return p.shares(m, plan) }

func (p *Guarded) shares(m *seam.Shape, plan Plan) ([]float64, error) {
	shares, err := sharesOf(p.Policy, m, plan)
	if err != nil {
		return nil, err
	}
	if shares == nil {
		return nil, fmt.Errorf("policy %s cannot be checked: which steps it computes is not known beforehand", p.Policy)
	}
	for position, share := range shares {
		if share != 0 && share != 1 {
			return nil, fmt.Errorf("policy %s cannot be checked: want steps that compute everything or nothing, "+
				"step %d computes %.0f %%", p.Policy, position, 100*share)
		}
	}
	return shares, nil
}

// fits reports a plan that the policy's contract was not calibrated for.
func (p *Guarded) fits(plan Plan) error {
	t, ok := p.Policy.(*Trained)
	if !ok {
		return nil
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }
	a, b := t.Sampling, plan.Sampling
	if near(a.Guidance, b.Guidance) && near(a.GuidancePower, b.GuidancePower) && near(a.Eta, b.Eta) &&
		a.GuideAll == b.GuideAll && a.Clip == b.Clip {
		return nil
	}
	text := func(s diffusion.Sampling) string {
		return fmt.Sprintf("guidance %g (power %g) and eta %g", s.Guidance, s.GuidancePower, s.Eta)
	}
	return fmt.Errorf("the contract of policy %s was calibrated for %s, not for %s", t, text(a), text(b))
}

// CacheBytes implements Policy.
func (p *Guarded) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	if _, err := p.shares(m.Shape(), plan); err != nil {
		return 0, err
	}
	if err := p.fits(plan); err != nil {
		return 0, err
	}
	bytes, err := p.Policy.CacheBytes(m, plan, samples)
	return bytes + 4*int64(m.Shape().Latents())*int64(keptPredictions*samples+1), err
}

// keptPredictions is how many predictions of computed steps the line goes through.
const keptPredictions = 2

// NewRun implements Policy.
func (p *Guarded) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	m := model.Shape()
	shares, err := p.shares(m, plan)
	if err != nil {
		return nil, err
	}
	if err := p.fits(plan); err != nil {
		return nil, err
	}
	run, err := p.Policy.NewRun(model, plan, samples)
	if err != nil {
		return nil, err
	}
	r := &guardedRun{
		Run:      run,
		policy:   p,
		shape:    m,
		plan:     plan,
		guidance: plan.Guide(),
		full:     make([]bool, plan.Steps()),
		weight:   errorWeights(plan),
		allowed:  4 * math.Pow(10, -p.Tolerance/10),
		images:   make([]guardedImage, samples),
		now:      make([]float32, m.Latents()),
		index:    make([]int32, 0, samples*m.Tokens),
	}
	for s := range r.images {
		for k := range keptPredictions {
			r.images[s].past[k] = make([]float32, m.Latents())
		}
	}
	for position, share := range shares {
		r.full[position] = share == 1
	}
	return r, nil
}

// errorWeights returns, of each position, by how much the square of a step's error counts: see
// Guarded. Where the sampler adds noise at every step a step moves the mean by (s²-s'²)/s, and the
// share that is left is not the root.
func errorWeights(plan Plan) []float64 {
	noisy := plan.Sampler == "ddpm" || plan.Eta != 0
	list := make([]float64, plan.Steps())
	for p, s := range plan.Sigma {
		next := 0.0
		if p+1 < len(plan.Sigma) {
			next = plan.Sigma[p+1]
		}
		left := dataVariance / (dataVariance + next*next)
		move := s - next
		if noisy && s > 0 {
			move, left = (s*s-next*next)/s, left*left
		}
		list[p] = move * move * left * plan.noiseAt(p) * plan.noiseAt(p)
	}
	return list
}

// Evidence is what the checks of an image found.
type Evidence struct {
	Checks     int `json:"checks"`     // P-steps of the policy
	Rejections int `json:"rejections"` // those of them that were computed
	// EstimatedPSNR is the image's to the uncached one, in dB: 100 if nothing was forecast.
	EstimatedPSNR float64 `json:"estimated_psnr_db"`
}

// Checker is a Run that checks what it forecasts.
type Checker interface {
	Run
	// Evidence returns that of an image, given its sample (under guidance the conditional one),
	// since the last Reset.
	Evidence(sample int) Evidence
}

// guardedImage is the state of an image.
type guardedImage struct {
	past     [keptPredictions][]float32 // guided predictions at computed steps, the newest first
	at       [keptPredictions]int       // their positions
	known    int                        // how many there are
	sum      float64                    // of the squared errors of forecasts
	evidence Evidence
	again    bool // its forecast was rejected in this pass
	computes bool // a forecast was rejected: all steps are computed
}

// guardedRun is the state of a Guarded.
type guardedRun struct {
	Run
	policy   *Guarded
	shape    *seam.Shape
	plan     Plan
	guidance diffusion.Guidance
	full     []bool    // of each position: computed by the policy
	weight   []float64 // likewise: of a squared error
	allowed  float64   // sum of the squared errors
	images   []guardedImage
	extra    Cost // of rejected steps

	g         *tensor.Graph
	batch     *seam.Batch
	positions []int
	repeated  bool      // the pass that runs was rejected before
	index     []int32   // rows of rejected samples
	now       []float32 // the prediction of an image
	accepted  []float32 // predictions of a pass of which only some are rejected
}

// Begin implements Run. The policy is not told of a pass that is repeated.
func (r *guardedRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	if !r.repeated {
		r.g, r.batch, r.positions = g, b, positions
		r.Run.Begin(g, b, positions)
		return
	}
	r.index = rowsOfSamples(r.index[:0], len(positions), r.shape.Tokens, r.isRejected)
	r.extra.ISteps += len(r.index) / r.shape.Tokens
	r.extra.PSteps -= len(r.index) / r.shape.Tokens
}

// isRejected reports whether a sample's forecast was rejected, together with its other half.
func (r *guardedRun) isRejected(sample int) bool { return r.images[sample].again }

// Sites implements seam.Reuse.
func (r *guardedRun) Sites() seam.Sites { return r.Run.Sites() | seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse.
func (r *guardedRun) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	switch {
	case !r.repeated && r.Run.Sites().Has(at.Part):
		return r.Run.Apply(at, x, f)
	case !r.repeated || at.Part != seam.Block:
		return f(x)
	}
	r.extra.ComputedRows += int64(len(r.index))
	return computeRows(r.g, x, r.index, f)
}

// Finish implements seam.Finisher.
func (r *guardedRun) Finish(out *tensor.Tensor) (again bool) {
	if r.repeated {
		r.repeated = false
		r.takeRepeated(out)
		return false
	}
	if seam.Finish(r.Run, out) {
		return true
	}
	for s := range r.positions {
		r.images[s].again = false
	}
	all := true
	for s, p := range r.positions {
		if r.conditional(s) >= 0 {
			continue
		}
		r.guide(out, s)
		if r.full[p] {
			r.take(s)
		} else if r.rejects(s) {
			r.images[s].again = true
			if u := r.unconditional(s); u >= 0 {
				r.images[u].again = true
			}
			again = true
			continue
		}
		all = false
	}
	if r.repeated = again; again && !all {
		r.accepted = append(r.accepted[:0], out.Flat()...)
	}
	return again
}

// takeRepeated takes in the steps that were rejected and are computed now, and puts back the
// predictions of the others.
func (r *guardedRun) takeRepeated(out *tensor.Tensor) {
	for s := range r.positions {
		switch {
		case !r.images[s].again:
			copy(out.Row(s), r.accepted[s*out.Cols:])
		case r.conditional(s) < 0:
			r.guide(out, s)
			r.take(s)
		}
	}
}

// unconditional returns a sample's other half under guidance, or -1.
func (r *guardedRun) unconditional(s int) int {
	if r.batch.Unconditional == nil {
		return -1
	}
	return r.batch.Unconditional[s]
}

// conditional returns the sample whose unconditional half a sample is, or -1.
func (r *guardedRun) conditional(s int) int {
	for i, u := range r.batch.Unconditional {
		if u == s {
			return i
		}
	}
	return -1
}

// guide sets now to a sample's prediction after guidance.
func (r *guardedRun) guide(out *tensor.Tensor, s int) {
	n := r.shape.Latents()
	cond := out.Row(s)[:n]
	if u := r.unconditional(s); u >= 0 {
		channels := r.shape.Channels
		r.guidance.Apply(r.now, cond, out.Row(u)[:n], channels, n/channels, r.plan.Timesteps[r.positions[s]])
		return
	}
	copy(r.now, cond)
}

// take takes in the prediction of a computed step.
func (r *guardedRun) take(s int) {
	m := &r.images[s]
	m.past[0], m.past[1] = m.past[1], m.past[0]
	m.at[0], m.at[1] = r.positions[s], m.at[0]
	copy(m.past[0], r.now)
	m.known = min(m.known+1, keptPredictions)
}

// rejects checks a forecast, and takes its error in unless it is rejected.
func (r *guardedRun) rejects(s int) bool {
	m := &r.images[s]
	m.evidence.Checks++
	if !m.computes {
		e := r.squaredError(s)
		if m.computes = m.sum+e > r.allowed; !m.computes {
			m.sum += e
			return false
		}
	}
	m.evidence.Rejections++
	return true
}

// squaredError returns what the forecast of an image, in now, adds to its sum.
func (r *guardedRun) squaredError(s int) float64 {
	m, p := &r.images[s], r.positions[s]
	a, b := float32(1), float32(0) // the weights of the last two predictions
	if m.known == keptPredictions {
		b = -float32(p-m.at[0]) / float32(m.at[0]-m.at[1])
		a = 1 - b
	}
	sum := 0.0
	for i, v := range r.now {
		d := float64(v - a*m.past[0][i] - b*m.past[1][i])
		sum += d * d
	}
	return r.weight[p] * sum / float64(len(r.now))
}

// Evidence implements Checker.
func (r *guardedRun) Evidence(sample int) Evidence {
	const identical = 100
	m := &r.images[sample]
	e := m.evidence
	if e.EstimatedPSNR = identical; m.sum > 0 {
		e.EstimatedPSNR = min(identical, 10*math.Log10(4/m.sum)+r.policy.Offset)
	}
	return e
}

// Reset implements Run.
func (r *guardedRun) Reset() {
	for s := range r.images {
		m := &r.images[s]
		m.known, m.sum, m.evidence, m.again, m.computes = 0, 0, Evidence{}, false, false
	}
	r.repeated = false
	r.Run.Reset()
}

// Stats implements Run: a rejected step counts as an I-step.
func (r *guardedRun) Stats() Cost {
	c := r.Run.Stats()
	c.Add(r.extra)
	return c
}
