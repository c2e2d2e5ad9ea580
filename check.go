package tokencache

import (
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
)

// Plan returns the steps that policies see.
func (p *Pipeline) Plan(s Sampling) (reuse.Plan, error) {
	sampler, err := s.New(p.network)
	if err != nil {
		return reuse.Plan{}, err
	}
	return reuse.NewPlanOn(p.network, s, sampler), nil
}

// SolverDigest identifies the learned weights that a sampling takes, which it does not tell itself:
// see diffusion.Sampling.SolverDigest.
func (p *Pipeline) SolverDigest(s Sampling) string { return s.SolverDigest(p.network) }

// Setting returns what a contract of a policy for this model and a sampling holds for.
func (p *Pipeline) Setting(s Sampling) reuse.Setting {
	s = s.WithDefaults()
	s.RNG = ""
	setting := reuse.Setting{Model: p.Fingerprint(), Sampling: s, Solver: p.SolverDigest(s)}
	if d := p.DType(); d != F32 {
		setting.DType = d.String()
	}
	if d := p.CacheDType(); d != F32 {
		setting.CacheDType = d.String()
	}
	return setting
}

// promise is what a request's images keep.
func (r *Request) promise() reuse.Promise {
	return reuse.Promise{MinPSNR: r.MinPSNR, Reference: r.Reference}
}

// Needs is what a request takes.
type Needs struct {
	FLOPs           int64 // of model and policy: exact where the policy's schedule is known beforehand
	UncachedFLOPs   int64 // of the model alone
	CacheBytes      int64 // of the images in flight
	ActivationBytes int64 // likewise
}

// Estimate says what a request takes, without allocating it. It fails where Generate would refuse
// the request.
func (p *Pipeline) Estimate(req Request) (Needs, error) {
	pl, err := p.plan(req)
	if err != nil {
		return Needs{}, err
	}
	pass := p.net.PassFLOPs(pl.samples)
	var n Needs
	for _, share := range pl.shares {
		n.FLOPs += int64(math.Round(share * float64(pass)))
	}
	n.FLOPs *= int64(pl.todo)
	n.UncachedFLOPs = pass * int64(len(pl.shares)) * int64(pl.todo)
	flying := int64(min(pl.window, (pl.todo+pl.unit-1)/pl.unit))
	n.CacheBytes = flying * pl.cacheBytes
	n.ActivationBytes = p.net.ActivationBytes(pl.unit*pl.samples) * min(flying, int64(p.Threads()))
	return n, nil
}

// Check reports what Generate would refuse in a request, without generating anything.
func (p *Pipeline) Check(req Request) error {
	_, err := p.plan(req)
	return err
}

// plan checks a request and works out what follows from it.
func (p *Pipeline) plan(req Request) (*plan, error) {
	pl := &plan{req: req, policy: req.Policy, samples: 1, size: p.latentSize(), unit: 1}
	pl.req.Sampling = req.Sampling.WithDefaults()
	if pl.policy == nil {
		pl.policy = reuse.None{}
	}
	if err := pl.checkFields(p); err != nil {
		return nil, err
	}
	if req.MinPSNR != 0 {
		if req.Reference == reuse.ToConverged {
			if _, _, err := req.Sampling.Converging(p.network); err != nil {
				return nil, err
			}
		}
		guarded, err := reuse.Guard(pl.policy, req.promise(), p.Setting(req.Sampling))
		if err != nil {
			return nil, err
		}
		pl.policy = guarded
	}
	if err := pl.condition(p.net); err != nil {
		return nil, err
	}
	var err error
	if pl.sampler, err = req.Sampling.New(p.network); err != nil {
		return nil, err
	}
	if _, ok := pl.sampler.(*diffusion.Dopri5); ok && !isUncached(pl.policy) {
		return nil, &FieldError{Field: "Policy", Value: pl.policy, Want: "none: the adaptive steps of sampler ode are not known " +
			"beforehand; its methods of fixed steps (such as heun) take policies"}
	}
	pl.steps = reuse.NewPlanOn(p.network, req.Sampling, pl.sampler)
	if pl.draws = 1; pl.sampler.DrawsNoise() {
		pl.draws += pl.sampler.Steps()
	}
	if pl.guidance = req.Sampling.Guide(); pl.guidance.Enabled() {
		if p.net.NullCondition() == nil {
			return nil, &FieldError{Field: "Guidance", Value: req.Guidance, Want: "1: the model has no null class"}
		}
		pl.samples = 2
	}
	if pl.samples == 1 && reuse.NeedsGuidance(pl.policy) {
		return nil, &FieldError{Field: "Policy", Value: pl.policy, Want: "another: it skips guidance's unconditional half, " +
			"and a guidance of 1 has none"}
	}
	if err := pl.negative(p.net); err != nil {
		return nil, err
	}
	for i := range req.Images() {
		if !pl.skips(i) {
			pl.todo++
		}
	}
	if w, ok := pl.policy.(reuse.WholeBatcher); ok && w.WholeBatch() {
		pl.whole, pl.unit = true, min(pl.batch(), req.Images())
	}
	if pl.cacheBytes, err = pl.policy.CacheBytes(p.net, pl.steps, pl.unit*pl.samples); err != nil {
		return nil, err
	}
	if err := pl.costs(p.net); err != nil {
		return nil, err
	}
	pass := float64(p.net.PassFLOPs(pl.samples * pl.unit))
	for _, share := range pl.shares {
		pl.work += share * pass
	}
	return pl, pl.limits(p)
}

// isUncached tells whether a policy is none.
func isUncached(p reuse.Policy) bool {
	d, ok := p.(reuse.Described)
	return ok && d.Kind() == reuse.Uncached
}

// checkFields reports fields that have no meaning.
func (pl *plan) checkFields(p *Pipeline) error {
	req := &pl.req
	n := req.Images()
	switch {
	case len(req.Classes) > 0 && len(req.Conditions) > 0:
		return &FieldError{Field: "Conditions", Value: len(req.Conditions), Want: "none where classes are given"}
	case n == 0:
		return &FieldError{Field: "Classes", Value: "none", Want: "at least one class, for one image"}
	case req.Batch < 0:
		return &FieldError{Field: "Batch", Value: req.Batch, Want: "1 or more"}
	case req.Reference != "" && req.Reference != reuse.ToUncached && req.Reference != reuse.ToConverged:
		return &FieldError{
			Field: "Reference",
			Value: req.Reference,
			Want:  fmt.Sprintf("%s or %s", reuse.ToUncached, reuse.ToConverged),
		}
	case !(req.MinPSNR >= 0 && req.MinPSNR < math.Inf(1)):
		return &FieldError{Field: "MinPSNR", Value: req.MinPSNR, Want: "0 or more dB"}
	case req.CacheMemory < 0:
		return &FieldError{Field: "CacheMemory", Value: req.CacheMemory, Want: "0 or more"}
	case req.Noise != nil && len(req.Noise) != n*pl.size:
		return &FieldError{Field: "Noise", Value: fmt.Sprintf("of %d numbers", len(req.Noise)),
			Want: fmt.Sprintf("%d (%d images of %d)", n*pl.size, n, pl.size)}
	}
	for i, v := range req.Noise {
		if x := float64(v); math.IsNaN(x) || math.IsInf(x, 0) {
			return &FieldError{Field: "Noise", Value: fmt.Sprintf("with %v at %d", v, i), Want: "finite numbers"}
		}
	}
	return nil
}

// condition fills in and checks what each image is conditioned on.
func (pl *plan) condition(m seam.Model) error {
	pl.conditions = pl.req.Conditions
	if n := len(pl.req.Classes); n > 0 {
		pl.conditions = make([]Condition, n)
		for i, class := range pl.req.Classes {
			if pl.conditions[i] = classCondition(class); class != int(int32(class)) {
				return &FieldError{Field: "Classes", Value: class, Want: m.CheckCondition(nil).Error()}
			}
		}
	}
	var err error
	if pl.conditions, err = seam.Adopt(m, pl.conditions); err != nil {
		return &FieldError{Field: "Conditions", Value: len(pl.conditions), Want: err.Error()}
	}
	for _, c := range pl.conditions {
		if err := m.CheckCondition(c); err != nil {
			return &FieldError{Field: "Classes", Value: c, Want: err.Error()}
		}
	}
	return nil
}

// negative fills in and checks the condition of guidance's unconditional half.
func (pl *plan) negative(m seam.Model) error {
	pl.null = pl.req.Negative
	switch {
	case pl.null == nil:
		if pl.samples > 1 {
			pl.null = m.NullCondition()
		}
		return nil
	case pl.samples == 1:
		return &FieldError{Field: "Negative", Value: pl.null, Want: "none: without guidance (a scale of 1) it has no effect"}
	}
	own, err := seam.Adopt(m, []Condition{pl.null})
	if err != nil {
		return &FieldError{Field: "Negative", Value: pl.null, Want: err.Error()}
	}
	pl.null = own[0]
	if err := m.CheckCondition(pl.null); err != nil {
		return &FieldError{Field: "Negative", Value: pl.null, Want: err.Error()}
	}
	return nil
}

// costs fills in what each step costs, as far as the policy knows.
func (pl *plan) costs(m seam.Model) error {
	pl.shares = slices.Repeat([]float64{1}, pl.sampler.Steps())
	s, ok := pl.policy.(reuse.Scheduled)
	if !ok {
		return nil
	}
	shares, err := s.Shares(m.Shape(), pl.steps)
	if err == nil && shares != nil {
		pl.shares = shares
	}
	return err
}

// limits works out how many units may be in flight, or that not one may.
func (pl *plan) limits(p *Pipeline) error {
	activations := p.net.ActivationBytes(pl.unit * pl.samples)
	latents := int64(pl.unit) * int64(pl.size) * 4 * int64(4+2*pl.samples)
	pl.bytes = pl.cacheBytes + activations + latents
	rows := pl.unit * pl.samples * p.net.Shape().Tokens
	l := p.engine.limits
	switch {
	case pl.req.CacheMemory > 0 && pl.cacheBytes > pl.req.CacheMemory:
		return &LimitError{What: limitCache, Need: pl.cacheBytes, Limit: pl.req.CacheMemory}
	case l.Memory > 0 && pl.bytes > l.Memory:
		return &LimitError{What: limitMemory, Need: pl.bytes, Limit: l.Memory}
	case l.Rows > 0 && rows > l.Rows:
		return &LimitError{What: limitRows, Need: int64(rows), Limit: int64(l.Rows)}
	}
	if pl.whole {
		pl.window = 1
		return nil
	}
	pl.window = pl.req.Batch
	if pl.window == 0 {
		pl.window = max(defaultBatch, 2*p.Threads())
	}
	if pl.req.CacheMemory > 0 && pl.cacheBytes > 0 {
		pl.window = min(pl.window, int(pl.req.CacheMemory/pl.cacheBytes))
	}
	return nil
}
