package reuse

import (
	"fmt"
	"math"

	"github.com/tokencache/tokencache/seam"
)

// Guarded is a policy whose forecasts are checked, image by image. At a P-step p, one at which the
// policy does not compute everything of the image, its prediction, after guidance, is compared with
// another forecast, the line through the predictions at the last two computed steps (until there is
// a computed step, at the last two): their difference, d_p, is an embedded error estimate as solvers of ordinary
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
// To the converged solution, of which the uncached images miss Baseline dB, the squared errors of
// both add up. A P-step is rejected if the sum would exceed what Tolerance allows. Then the model runs again,
// and the step is computed; and so is every step after it, as learned forecasts undo the errors of
// those before them, and computing some steps in between makes images worse. SpeCa (arXiv
// 2509.11628) verifies by the last block instead, which takes a block's time at each P-step.
type Guarded struct {
	Policy    Policy
	Promise           // MinPSNR 0: nothing is promised
	Tolerance float64 // dB, without the Offset; 0 or less: nothing is rejected
	Offset    float64 // dB: see ContractPoint
	Baseline  float64 // dB: that of the uncached images to the converged solution; 0: none
}

// dataVariance is S, about the variance of images in [-1,1]. On the bundled DiT the estimates of
// 0.1 and 0.3 agree best with the true PSNR, of 0.1, 0.3, 1 and infinity.
const dataVariance = 0.3

// String implements Policy.
func (p *Guarded) String() string {
	if p.MinPSNR == 0 {
		return fmt.Sprintf("%s checked with a tolerance of %g dB", p.Policy, p.Tolerance)
	}
	return fmt.Sprintf("%s with a PSNR of at least %s", p.Policy, p.Promise)
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
func (p *Guarded) Granularity() Granularity {
	if d, ok := p.Policy.(Described); ok {
		return d.Granularity()
	}
	return ByStep
}

// Shares implements Scheduled: those of the policy, which hold unless steps are rejected.
func (p *Guarded) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	return sharesOf(p.Policy, m, plan)
}

// CacheBytes implements Policy.
func (p *Guarded) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	bytes, err := p.Policy.CacheBytes(m, plan, samples)
	return bytes + 4*int64(m.Shape().Latents())*int64(keptPredictions*samples+1), err
}

// keptPredictions is how many predictions the line goes through.
const keptPredictions = 2

// NewRun implements Policy.
func (p *Guarded) NewRun(model seam.Model, plan Plan, samples int) (Run, error) {
	m := model.Shape()
	shares, err := p.Shares(m, plan)
	if err != nil {
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
		shares:   shares,
		weight:   errorWeights(plan),
		allowed:  math.Inf(1),
		images:   make([]guardedImage, samples),
		now:      make([]float32, m.Latents()),
		index:    make([]int32, 0, samples*m.Tokens),
	}
	r.counted = r.compute
	if p.Tolerance > 0 {
		r.allowed = 4 * math.Pow(10, -p.Tolerance/10)
	}
	for s := range r.images {
		for k := range keptPredictions {
			r.images[s].past[k] = make([]float32, m.Latents())
		}
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
	// EstimatedPSNR is the image's to what the promise refers to, in dB. To the uncached image it is
	// 100 if nothing was forecast.
	EstimatedPSNR float64 `json:"estimated_psnr_db"`
}

// Checker is a Run that checks what it forecasts.
type Checker interface {
	Run
	// Evidence returns that of an image, given its sample (under guidance the conditional one),
	// since the last Reset.
	Evidence(sample int) Evidence
}

// identicalPSNR is what equal images count as, in dB.
const identicalPSNR = 100

// joined returns the PSNR of two errors that are independent, given that of each, in dB.
func joined(a, b float64) float64 { return -10 * math.Log10(math.Pow(10, -a/10)+math.Pow(10, -b/10)) }

// estimate returns the PSNR that a sum of squared errors is taken for, in dB.
func (p *Guarded) estimate(sum float64) float64 {
	converged := p.Reference == ToConverged
	if sum == 0 {
		if converged {
			return p.Baseline
		}
		return identicalPSNR
	}
	e := min(identicalPSNR, 10*math.Log10(4/sum))
	if converged {
		e = joined(e, p.Baseline)
	}
	return min(identicalPSNR, e+p.Offset)
}
