package reuse

import (
	"math"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// guardedImage is the state of an image.
type guardedImage struct {
	offered  int                        // rows, in this pass, that the policy was asked about
	taken    int                        // those of them that it computed
	past     [keptPredictions][]float32 // guided predictions at computed steps, the newest first
	at       [keptPredictions]int       // their positions
	known    int                        // how many there are
	whole    bool                       // one of them is of a step that computed everything
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
	shares   []float64 // of each position: what the policy computes; nil if that is not known
	weight   []float64 // of each position: of a squared error
	allowed  float64   // sum of the squared errors
	images   []guardedImage
	extra    Cost // of rejected steps

	g         *tensor.Graph
	batch     *seam.Batch
	positions []int
	direct    bool      // all images compute, and the policy is not asked
	repeated  bool      // the pass that runs was rejected before
	index     []int32   // rows of rejected samples
	now       []float32 // the prediction of an image
	accepted  []float32 // predictions of a pass of which only some are rejected

	counted func(*seam.Tokens) *seam.Tokens // compute
	f       func(*seam.Tokens) *seam.Tokens // of the policy's Apply that runs
}

// Begin implements Run. The policy is not told of a pass that is repeated, and of none once all
// images compute.
func (r *guardedRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	if r.repeated {
		r.index = rowsOfSamples(r.index[:0], len(positions), r.shape.Tokens, r.isRejected)
		return
	}
	r.g, r.batch, r.positions, r.direct = g, b, positions, true
	for s := range positions {
		m := &r.images[s]
		m.offered, m.taken, m.again = 0, 0, false
		r.direct = r.direct && (m.computes || r.conditional(s) >= 0)
	}
	if r.direct {
		r.extra.ISteps += len(positions)
		return
	}
	r.Run.Begin(g, b, positions)
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
	case r.direct || r.repeated:
		return r.computeAgain(at, x, f)
	case !r.Run.Sites().Has(at.Part):
		return f(x)
	}
	for s := range r.positions {
		r.images[s].offered += rowsOf(x, s)
	}
	r.f = f
	return r.Run.Apply(at, x, r.counted)
}

// rowsOf returns how many of the tokens are a sample's.
func rowsOf(x *seam.Tokens, sample int) int {
	return int(x.Rows.Start[sample+1] - x.Rows.Start[sample])
}

// compute is what the policy calls in place of the block or branch: it counts what is computed.
func (r *guardedRun) compute(x *seam.Tokens) *seam.Tokens {
	for s := range r.positions {
		r.images[s].taken += rowsOf(x, s)
	}
	return r.f(x)
}

// computeAgain computes the samples that were rejected, or all.
func (r *guardedRun) computeAgain(at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens) *seam.Tokens {
	switch {
	case at.Part != seam.Block:
		return f(x)
	case r.direct:
		r.extra.Rows += int64(x.X.Rows)
		r.extra.ComputedRows += int64(x.X.Rows)
		return f(x)
	}
	r.extra.ComputedRows += int64(len(r.index))
	return computeRows(r.g, x, r.index, f)
}

// Finish implements seam.Finisher.
func (r *guardedRun) Finish(out *tensor.Tensor) (again bool) {
	switch {
	case r.direct:
		for s := range r.positions {
			r.countComputed(s)
		}
		return false
	case r.repeated:
		r.repeated = false
		r.takeRepeated(out)
		return false
	case seam.Finish(r.Run, out):
		return true
	}
	all := true
	for s := range r.positions {
		if r.conditional(s) >= 0 {
			continue
		}
		r.guide(out, s)
		if !r.rejects(s) {
			all = false
			continue
		}
		again = true
		r.reject(s)
	}
	if r.repeated = again; again && !all {
		r.accepted = append(r.accepted[:0], out.Flat()...)
	}
	return again
}

// reject marks an image's samples as rejected, whose P-steps become I-steps.
func (r *guardedRun) reject(s int) {
	again := func(sample int) (whole, nothing bool) {
		m := &r.images[sample]
		m.again, whole = true, m.taken == m.offered
		if !whole {
			r.extra.ISteps++
			r.extra.PSteps--
		}
		return whole, m.taken == 0
	}
	half, _ := again(s)
	if u := r.unconditional(s); u >= 0 {
		if _, nothing := again(u); half && nothing { // a half step, which counts as one of both
			r.extra.HalfSteps -= 2
			r.extra.ISteps++
			r.extra.PSteps--
		}
	}
}

// isWhole reports whether the policy computed everything of an image.
func (r *guardedRun) isWhole(s int) bool {
	u := r.unconditional(s)
	return r.images[s].taken == r.images[s].offered && (u < 0 || r.images[u].taken == r.images[u].offered)
}

// countComputed counts a step of an image after a rejected one: as rejected, too, unless the policy
// is known to compute everything at it.
func (r *guardedRun) countComputed(s int) {
	if r.conditional(s) < 0 && (r.shares == nil || r.shares[r.positions[s]] != 1) {
		r.images[s].evidence.Checks++
		r.images[s].evidence.Rejections++
	}
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
			r.images[s].whole = true
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

// rejects takes in the prediction of a step, in now, and reports whether it must be computed.
func (r *guardedRun) rejects(s int) bool {
	m := &r.images[s]
	whole := r.isWhole(s)
	if m.computes {
		r.countComputed(s)
		return !whole
	}
	switch {
	case whole, m.known == 0 && math.IsInf(r.allowed, 1):
	case m.known == 0: // there is nothing to compare a first step with
		m.evidence.Checks++
		m.evidence.Rejections++
		return true
	default:
		m.evidence.Checks++
		e := r.squaredError(s)
		if m.computes = m.sum+e > r.allowed; m.computes {
			m.evidence.Rejections++
			return true
		}
		m.sum += e
	}
	if whole || !m.whole {
		r.take(s)
	}
	m.whole = m.whole || whole
	return false
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
	m := &r.images[sample]
	e := m.evidence
	e.EstimatedPSNR = r.policy.estimate(m.sum)
	return e
}

// Reset implements Run.
func (r *guardedRun) Reset() {
	for s := range r.images {
		m := &r.images[s]
		*m = guardedImage{past: m.past}
	}
	r.direct, r.repeated = false, false
	r.Run.Reset()
}

// Stats implements Run: a rejected step counts as an I-step.
func (r *guardedRun) Stats() Cost {
	c := r.Run.Stats()
	c.Add(r.extra)
	return c
}
