package calibrate

import (
	"math"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/tensor"
)

// Learned forecasts look back to so many I-steps, and their weights are drawn to those of Newton's interpolation by so much, relative to the size of what they weight.
const (
	terms = 4
	ridge = 1e-3
)

// reference is uncached images on their way: what a policy's images should follow.
type reference struct {
	plan   reuse.Plan
	size   int         // of an image's latents
	states [][]float32 // of each image, [steps, size]: before each step
	noises [][]float32 // of each image, [steps, size]: the predicted noise, guided
	finals [][]float32 // of each image: what came out

	survival *survival // how deviations are weighed; nil: all alike
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

// target sets dst to the predicted noise that would take image i from x, where it is at position p, to where the uncached image is after the step: the uncached model's own prediction there, corrected for the distance
// that the policy's image has gone astray. In y = x/sqrt(alpha-bar), whose noise is sigma, DDIM and DPM-Solver's first order step by (sigma'-sigma)·eps, DDPM's mean by -(sigma²-sigma'²)/sigma·eps.
func (r *reference) target(dst []float32, i, p int, x []float32) {
	sigma, next := r.plan.Sigma[p], 0.0
	if p+1 < len(r.plan.Sigma) {
		next = r.plan.Sigma[p+1]
	}
	step := sigma - next
	if r.plan.Sampler == "ddpm" {
		step = (sigma*sigma - next*next) / sigma
	}
	back := math.Sqrt(1+sigma*sigma) / step
	state, noise := r.states[i][p*r.size:], r.noises[i][p*r.size:]
	for k := range dst {
		dst[k] = noise[k] + float32(back*float64(x[k]-state[k]))
	}
}

// quality is the mean over images of 10·log10(4/mean square difference) of what a policy drew to the uncached images, in dB: the PSNR of pixels in [-1,1].
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

// learner is a policy that learns the weights of its forecasts while it runs, on the trajectory that it takes itself: at each P-step by least squares, so that the step ends as near as can be to where the uncached image
// is then. All images must be in one batch.
type learner struct {
	policy   *reuse.TokenCache // whose Forecast is filled in
	ref      *reference
	guidance diffusion.Guidance
}

// String implements reuse.Policy.
func (l *learner) String() string { return l.policy.String() }

// NewRun implements reuse.Policy.
func (l *learner) NewRun(g *tensor.Graph, m *dit.Model, plan reuse.Plan, samples int, limit int64) (reuse.Run, error) {
	inner, err := l.policy.NewRun(g, m, plan, samples, limit)
	if err != nil {
		return nil, err
	}
	full, err := l.policy.Steps.ISteps(plan.Steps())
	if err != nil {
		return nil, err
	}
	r := &learnRun{Run: inner, learner: l, g: g, model: m, full: make([]bool, plan.Steps()), start: make([]float32, samples*m.Tokens()*m.Hidden)}
	for _, p := range full {
		r.full[p] = true
	}
	return r, nil
}

// learnRun wraps the run of the policy.
type learnRun struct {
	reuse.Run
	*learner
	g     *tensor.Graph
	model *dit.Model
	full  []bool
	start []float32   // the tokens before the first block
	past  [][]float32 // the blocks' joint updates R at the last I-steps, the newest first
	at    []int       // their positions
	now   int
}

// Begin implements reuse.Run.
func (r *learnRun) Begin(b *dit.Batch, positions []int) {
	r.now = positions[0]
	if !r.full[r.now] {
		r.fit(b)
	}
	r.Run.Begin(b, positions)
}

// Apply implements dit.Reuse: it keeps what the blocks add.
func (r *learnRun) Apply(at dit.Site, x *dit.Tokens, f func(*dit.Tokens) *dit.Tokens) *dit.Tokens {
	whole := at.Part == dit.Whole && r.full[r.now]
	if whole && at.Block == 0 {
		copy(r.start, x.X.Flat())
	}
	y := r.Run.Apply(at, x, f)
	if whole && at.Block == len(r.model.Blocks)-1 {
		update := make([]float32, len(y.X.Flat()))
		kernel.Scale(update, r.start[:len(update)], -1)
		kernel.Add(update, update, y.X.Flat())
		r.addDecoder(update, -1) // is no update of a block: the model adds it on P-steps too
		r.past, r.at = append([][]float32{update}, r.past...), append([]int{r.now}, r.at...)
		if len(r.past) > terms {
			r.past, r.at = r.past[:terms], r.at[:terms]
		}
	}
	return y
}

// addDecoder adds the position embedding of an MDT's decoder, times factor, to tokens.
func (r *learnRun) addDecoder(tokens []float32, factor float32) {
	decoder := r.model.DecoderPositionEmbedding()
	for at := 0; decoder != nil && at < len(tokens); at += len(decoder) {
		kernel.AXPY(tokens[at:at+len(decoder)], factor, decoder)
	}
}

// Reset implements reuse.Run.
func (r *learnRun) Reset() {
	r.past, r.at = nil, nil
	r.Run.Reset()
}

// fit sets the weights at a P-step, by least squares of what the step's end is away from the uncached image's, weighed as the reference says. The prediction is nearly linear in them, but for the last layer's norm, so two steps of Gauss and Newton's suffice.
func (r *learnRun) fit(b *dit.Batch) {
	k := len(r.past)
	basis, newton := differences(r.now, r.at)
	target := make([][]float32, len(r.ref.states))
	for i := range target {
		target[i] = make([]float32, r.ref.size)
		r.ref.target(target[i], i, r.now, b.X.Row(i))
	}
	c := newton // in the basis
	for range 2 {
		at := r.predict(b, combine(basis, c[:k]))
		var slopes [terms][][]float32
		for j := range k {
			shifted, h := c, 0.05*max(1, math.Abs(newton[j]))
			shifted[j] += h
			slopes[j] = r.predict(b, combine(basis, shifted[:k]))
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
	weights := r.policy.Forecast.At(r.now)
	clear(weights)
	for i, w := range combine(basis, c[:k]) {
		weights[i] = float32(w)
	}
}

// predict returns the predicted noise of each image, guided, where the blocks' joint update is the weighted sum of the past ones.
func (r *learnRun) predict(b *dit.Batch, weights []float64) [][]float32 {
	mark := r.g.Mark()
	defer r.g.Release(mark)
	x, c := r.model.Embed(r.g, b)
	r.addDecoder(x.X.Flat(), 1)
	cols := x.X.Cols
	r.g.EachRow(x.X.Rows, cols*len(weights), func(row int) {
		for i, w := range weights {
			kernel.AXPY(x.X.Row(row), float32(w), r.past[i][row*cols:][:cols])
		}
	})
	out := r.model.Head(r.g, x, c)
	images := make([][]float32, len(r.ref.states))
	channels := r.model.InChannels
	for i := range images {
		if out.Rows > len(images) {
			r.guidance.Apply(out.Row(i), out.Row(i), out.Row(len(images)+i), channels, r.ref.size/channels, r.ref.plan.Timesteps[r.now])
		}
		images[i] = append([]float32(nil), out.Row(i)[:r.ref.size]...)
	}
	return images
}

// differences returns the divided differences of values at positions qs, the newest first, as weights of these values, and the factors by which Newton's interpolation multiplies them for a
// forecast to p; factors of differences beyond the second are left out, because they are more noise than trend.
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

// combine returns the sum of the basis' vectors times c.
func combine(basis [][]float64, c []float64) []float64 {
	sum := make([]float64, len(basis))
	for j, v := range basis {
		for i, x := range v {
			sum[i] += c[j] * x
		}
	}
	return sum
}

// gauss solves a·x = b for the first k unknowns; a is symmetric and positive.
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
