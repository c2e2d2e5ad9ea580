package calibrate

import (
	"math"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// terms is how many past I-steps a learned forecast uses. ridge is the relative strength of the
// pull towards Newton's interpolation.
const (
	terms = 4
	ridge = 1e-3
)

// reference holds teacher trajectories: those of uncached images, which a policy's images should
// follow.
type reference struct {
	plan   reuse.Plan
	size   int         // of an image's latents
	states [][]float32 // of each image, [steps, size]: before each step
	noises [][]float32 // of each image, [steps, size]: the predicted noise, guided
	finals [][]float32 // of each image, [size]: the result

	survival *survival // the weights of deviations; nil: all alike
}

// weigh weighs deviations x of an image after the step at position p.
func (r *reference) weigh(x []float32, p int) {
	if r.survival == nil {
		return
	}
	next := 0.0
	if p+1 < len(r.plan.Sigma) {
		next = r.plan.Sigma[p+1]
	}
	r.survival.weigh(x, next)
}

// target sets dst to the predicted noise that would take image i from x, where it is at position p,
// to where the uncached image is after the step: the uncached model's own prediction there,
// corrected for the deviation of the policy's image. In y = x/alpha, whose noise is
// sigma, DDIM and DPM-Solver's first order step by (sigma'-sigma)·eps, DDPM's mean by
// -(sigma²-sigma'²)/sigma·eps.
func (r *reference) target(dst []float32, i, p int, x []float32) {
	step, _ := r.step(p)
	back := 1 / (r.plan.AlphaAt(p) * step)
	state, noise := r.states[i][p*r.size:], r.noises[i][p*r.size:]
	for k := range dst {
		dst[k] = noise[k] + float32(back*float64(x[k]-state[k]))
	}
}

// step returns the factor of the predicted noise in the sampler's step at a position, in y =
// x/sqrt(alpha-bar), and the noise after the step.
func (r *reference) step(p int) (factor, next float64) {
	sigma := r.plan.Sigma[p]
	if p+1 < len(r.plan.Sigma) {
		next = r.plan.Sigma[p+1]
	}
	if r.plan.Sampler == "ddpm" {
		return (sigma*sigma - next*next) / sigma, next
	}
	return sigma - next, next
}

// quality is the mean over images of 10·log10(4/mean square difference) between a policy's images
// and the uncached ones, in dB: the PSNR of pixels in [-1,1].
func (r *reference) quality(images []tokencache.Image) float64 {
	mean := 0.0
	for i, image := range images {
		sum := 0.0
		for k, v := range image.Latents {
			d := float64(v - r.finals[i][k])
			sum += d * d
		}
		mean -= 10 * math.Log10(sum/float64(4*r.size)+1e-12) / float64(len(images))
	}
	return mean
}

// learner is a policy that learns the weights of its forecasts while it runs, on its own
// trajectory: at each P-step by least squares, so that each step lands as close as possible to the
// uncached trajectory. All images must be in one batch.
type learner struct {
	policy   *reuse.TokenCache // whose Forecast is filled in
	ref      *reference
	guidance diffusion.Guidance
	channels int // of the latents
	levels   diffusion.Schedule
}

// String implements reuse.Policy.
func (l *learner) String() string { return l.policy.String() }

// WholeBatch implements reuse.WholeBatcher.
func (l *learner) WholeBatch() bool { return true }

// CacheBytes implements reuse.Policy.
func (l *learner) CacheBytes(model seam.Model, plan reuse.Plan, samples int) (int64, error) {
	return l.policy.CacheBytes(model, plan, samples)
}

// NewRun implements reuse.Policy.
func (l *learner) NewRun(model seam.Model, plan reuse.Plan, samples int) (reuse.Run, error) {
	inner, err := l.policy.NewRun(model, plan, samples)
	if err != nil {
		return nil, err
	}
	full, err := l.policy.Steps.ISteps(plan.Steps())
	if err != nil {
		return nil, err
	}
	m := model.Shape()
	r := &learnRun{
		Run:     inner,
		learner: l,
		model:   model,
		tokens:  l.policy.Ratio > 0,
		full:    make([]bool, plan.Steps()),
		half:    make([]bool, plan.Steps()),
		decoder: addedInside(m),
	}
	if !r.tokens {
		r.start = make([]float32, samples*m.Tokens*m.Width)
	}
	for _, p := range full {
		r.full[p] = true
	}
	for _, p := range l.policy.Steps.Half {
		r.half[p] = true
	}
	return r, nil
}

// learnRun wraps the run of the policy.
type learnRun struct {
	reuse.Run
	*learner
	g       *tensor.Graph
	model   seam.Model
	tokens  bool      // P-steps compute tokens: the past is the policy's, and here only its positions
	full    []bool    // of each position: an I-step
	half    []bool    // of each position: a half step
	start   []float32 // the tokens before the first block
	past    kept      // the model's residuals R at the last I-steps and half steps
	guided  kept      // guidance's differences of R, conditional less unconditional, at the last I-steps
	now     int
	decoder []float32 // what the model adds between blocks, [N, D], or nil
	batch   *seam.Batch
}

// kept holds the values that were computed last, the newest first, and their positions.
type kept struct {
	values [][]float32
	at     []int
}

func (k *kept) add(value []float32, p int) {
	k.values, k.at = append([][]float32{value}, k.values...), append([]int{p}, k.at...)
	if len(k.at) > terms {
		k.values, k.at = k.values[:terms], k.at[:terms]
	}
}

// sum adds factor times the weighted sum of a row of the values to x.
func (k *kept) sum(x []float32, row int, weights []float64, factor float64) {
	for i, w := range weights {
		kernel.AXPY(x, float32(factor*w), k.values[i][row*len(x):][:len(x)])
	}
}

// Begin implements reuse.Run.
func (r *learnRun) Begin(g *tensor.Graph, b *seam.Batch, positions []int) {
	r.g, r.now, r.batch = g, positions[0], b
	switch {
	case r.full[r.now] && r.tokens:
		r.past.add(nil, r.now)
	case r.full[r.now] || r.half[r.now]:
	case r.tokens:
		r.fit(r.past.at, func(weights []float64) [][]float32 { return r.predictTokens(positions, weights) })
	default:
		r.fit(r.past.at, r.predictWith(r.addForecast))
	}
	r.Run.Begin(g, b, positions)
}

// Sites implements seam.Reuse.
func (r *learnRun) Sites() seam.Sites { return r.Run.Sites() | seam.SitesOf(seam.Block) }

// Apply implements seam.Reuse. It keeps the residual of the blocks. At a half step it sets the
// weights once the conditional half is computed.
func (r *learnRun) Apply(
	at seam.Site, x *seam.Tokens, f func(*seam.Tokens) *seam.Tokens,
) *seam.Tokens {
	keeps := !r.tokens && at.Part == seam.Block && (r.full[r.now] || r.half[r.now])
	if keeps && at.Block == 0 {
		copy(r.start, x.X.Flat())
	}
	last := keeps && at.Block == r.model.Shape().Blocks-1
	compute := f
	if last && r.half[r.now] {
		compute = func(x *seam.Tokens) *seam.Tokens {
			y := f(x)
			r.fit(r.guided.at, r.predictWith(r.addDerived(r.update(y.X))))
			return y
		}
	}
	y := r.Run.Apply(at, x, compute)
	if last {
		update := r.update(y.X)
		r.past.add(update, r.now)
		if n := len(update) / 2; r.full[r.now] && r.batch.Unconditional != nil {
			difference := make([]float32, n)
			kernel.Sub(difference, update[:n], update[n:])
			r.guided.add(difference, r.now)
		}
	}
	return y
}

// update returns the residual of the blocks for the first rows of the batch.
func (r *learnRun) update(after *tensor.Tensor) []float32 {
	update := make([]float32, len(after.Flat()))
	kernel.Sub(update, after.Flat(), r.start[:len(update)])
	r.addDecoder(update, -1) // not an update of a block: the model adds it on P-steps too
	return update
}

// addForecast adds the weighted sum of past residuals to tokens: a P-step.
func (r *learnRun) addForecast(x *seam.Tokens, weights []float64) {
	r.g.EachRow(x.X.Rows, x.X.Cols*len(weights), func(row int) {
		r.past.sum(x.X.Row(row), row, weights, 1)
	})
}

// addDerived returns a function that adds the conditional residual to both halves and subtracts the
// forecast difference from the unconditional one: a half step.
func (r *learnRun) addDerived(update []float32) func(x *seam.Tokens, weights []float64) {
	return func(x *seam.Tokens, weights []float64) {
		cols, half := x.X.Cols, x.X.Rows/2
		r.g.EachRow(x.X.Rows, cols*(1+len(weights)), func(row int) {
			to := x.X.Row(row)
			kernel.Add(to, to, update[row%half*cols:][:cols])
			if row >= half {
				r.guided.sum(to, row-half, weights, -1)
			}
		})
	}
}

// addedInside returns what a model adds between its blocks, [N, D], or nil.
func addedInside(m *seam.Shape) []float32 {
	for i := range m.Blocks {
		if a := m.AddedBefore(i); a != nil {
			return a
		}
	}
	return nil
}

// addDecoder adds the position embedding of an MDT's decoder, times factor, to tokens.
func (r *learnRun) addDecoder(tokens []float32, factor float32) {
	decoder := r.decoder
	for at := 0; decoder != nil && at < len(tokens); at += len(decoder) {
		kernel.AXPY(tokens[at:at+len(decoder)], factor, decoder)
	}
}

// Reset implements reuse.Run.
func (r *learnRun) Reset() {
	r.past, r.guided = kept{}, kept{}
	r.Run.Reset()
}

// fit solves for the step's weights: least squares on the deviation from the teacher, weighted as
// the reference says, in two Gauss-Newton iterations. Where P-steps compute nothing only the final
// layer norm is nonlinear. predict returns the predicted noise of each image, guided, if forecasts
// from values at some positions have weights.
func (r *learnRun) fit(positions []int, predict func(weights []float64) [][]float32) {
	k := len(positions)
	basis, newton := differences(r.now, positions)
	target := make([][]float32, len(r.ref.states))
	for i := range target {
		target[i] = make([]float32, r.ref.size)
		r.ref.target(target[i], i, r.now, r.batch.X.Row(i))
	}
	c := newton // in the basis
	for range 2 {
		at := predict(combine(basis, c[:k]))
		var slopes [terms][][]float32
		for j := range k {
			shifted, h := c, 0.05*max(1, math.Abs(newton[j]))
			shifted[j] += h
			slopes[j] = predict(combine(basis, shifted[:k]))
			for i := range slopes[j] {
				for n, v := range at[i] {
					slopes[j][i][n] = (slopes[j][i][n] - v) / float32(h)
				}
				r.ref.weigh(slopes[j][i], r.now)
			}
		}
		var a [terms][terms]float64
		var left [terms]float64
		for i := range at {
			off := at[i]
			for n, v := range off {
				off[n] = target[i][n] - v
			}
			r.ref.weigh(off, r.now)
			for n, v := range off {
				d := float64(v)
				for j := range k {
					s := float64(slopes[j][i][n])
					left[j] += s * d
					for l := range k {
						a[j][l] += s * float64(slopes[l][i][n])
					}
				}
			}
		}
		for j := range k {
			shrink := ridge*a[j][j] + 1e-12
			a[j][j] += shrink
			left[j] += shrink * (newton[j] - c[j])
		}
		for j, d := range gauss(a, left, k) {
			c[j] += d
		}
	}
	r.take(combine(basis, c[:k]))
}

// take makes weights those of the step.
func (r *learnRun) take(weights []float64) {
	to := r.policy.Forecast.At(r.now)
	clear(to)
	for i, w := range weights {
		to[i] = float32(w)
	}
}

// predictWith returns a function that predicts for fit where add adds a forecast from what was kept
// to the tokens before the first block.
func (r *learnRun) predictWith(add func(x *seam.Tokens, weights []float64)) func([]float64) [][]float32 {
	return func(weights []float64) [][]float32 {
		mark := r.g.Mark()
		defer r.g.Release(mark)
		b := &seam.Batch{X: r.batch.X, T: r.batch.T, Cond: r.batch.Cond}
		x := r.model.Embed(r.g, b)
		r.addDecoder(x.X.Flat(), 1)
		add(x, weights)
		return r.guide(r.model.Head(r.g, x))
	}
}

// predictTokens predicts for fit with a pass of the policy, which leaves the policy's past as it is.
func (r *learnRun) predictTokens(positions []int, weights []float64) [][]float32 {
	mark := r.g.Mark()
	defer r.g.Release(mark)
	r.take(weights)
	r.Run.Begin(r.g, r.batch, positions)
	return r.guide(seam.Forward(r.g, r.model, r.Run, r.batch))
}

// guide returns the guided prediction of each image.
func (r *learnRun) guide(out *tensor.Tensor) [][]float32 {
	images := make([][]float32, len(r.ref.states))
	channels := r.channels
	for i := range images {
		if out.Rows > len(images) {
			conditional, unconditional := out.Row(i), out.Row(len(images)+i)
			timestep := r.ref.plan.Timesteps[r.now]
			r.guidance.Apply(conditional, conditional, unconditional, channels, r.ref.size/channels, timestep)
		}
		images[i] = make([]float32, r.ref.size)
		r.levels.Noise(images[i], r.batch.X.Row(i), out.Row(i), r.ref.plan.Timesteps[r.now])
	}
	return images
}

// differences returns the divided differences of values at positions qs, the newest first, as
// weights of these values, and the factors by which Newton's interpolation multiplies them for a
// forecast to p. Factors of differences beyond the second are left out: they are more noise than
// trend.
func differences(p int, qs []int) (basis [][]float64, newton [terms]float64) {
	k := len(qs)
	basis = make([][]float64, k)
	rows := make([][]float64, k) // rows[j] is the divided difference over qs[j], qs[j+1], ... of the order reached
	for j := range rows {
		rows[j] = make([]float64, k)
		rows[j][j] = 1
	}
	factor := 1.0
	for i := range k {
		basis[i] = rows[0]
		if i <= 2 {
			newton[i] = factor
		}
		factor *= float64(p - qs[i])
		next := make([][]float64, k-i-1)
		for j := range next {
			next[j] = make([]float64, k)
			for n := range next[j] {
				next[j][n] = (rows[j][n] - rows[j+1][n]) / float64(qs[j]-qs[j+i+1])
			}
		}
		rows = next
	}
	return basis, newton
}

// combine returns the sum of the basis' vectors, each times its coefficient.
func combine(basis [][]float64, c []float64) []float64 {
	sum := make([]float64, len(basis))
	for j, v := range basis {
		for i, x := range v {
			sum[i] += c[j] * x
		}
	}
	return sum
}

// gauss solves a·x = b for the first k unknowns; a is symmetric and positive. It is not gonum's
// Cholesky, which rounds differently: learned forecasts would no longer be reproduced to the bit.
func gauss(a [terms][terms]float64, b [terms]float64, k int) [terms]float64 {
	for i := range k {
		for j := i + 1; j < k; j++ {
			f := a[j][i] / a[i][i]
			for l := i; l < k; l++ {
				a[j][l] -= f * a[i][l]
			}
			b[j] -= f * b[i]
		}
	}
	var x [terms]float64
	for i := k - 1; i >= 0; i-- {
		x[i] = b[i]
		for j := i + 1; j < k; j++ {
			x[i] -= a[i][j] * x[j]
		}
		x[i] /= a[i][i]
	}
	return x
}
