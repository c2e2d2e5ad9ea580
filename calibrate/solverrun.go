package calibrate

import (
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/diffusion"
)

// solverTerms is how many predictions a step of a fitted solver combines. Five and six do not do
// better.
const solverTerms = 4

// solverRun is a run of a multistep solver for the images of a solution, all at once. It fits the
// weights of each step before it takes the step, unless they are given.
type solverRun struct {
	ridge   float64
	s       *solution
	predict predictor
	given   [][]float64 // weights; nil: they are fitted

	nodes   []float64   // log-SNR of each evaluation
	weights [][]float64 // of each step taken: of y = x/Alpha, then of the predictions, the newest first
	noise   [][]float32 // predicted at each step taken: [images, size]
	y       [][]float32 // before each step, and after the last: [images, size]
	near    []float64   // of each y: how near it is to the solution, in dB, see nearness
}

// newSolverRun returns a run before its first step.
func newSolverRun(predict predictor, s *solution, nodes []float64, ridge float64) *solverRun {
	return &solverRun{
		ridge:   ridge,
		s:       s,
		predict: predict,
		nodes:   nodes,
		y:       [][]float32{s.at(nodes[0])},
		near:    []float64{math.Inf(1)},
	}
}

// moved returns a run with node k, which is not the first, somewhere else, before the step that
// this changes first.
func (r *solverRun) moved(k int, to float64) *solverRun {
	m := *r
	m.nodes = slices.Clone(r.nodes)
	m.nodes[k] = to
	m.weights, m.noise = slices.Clone(r.weights[:k-1]), slices.Clone(r.noise[:k])
	m.y, m.near = slices.Clone(r.y[:k]), slices.Clone(r.near[:k])
	return &m
}

// target returns the log-SNR that step k leads to.
func (r *solverRun) target(k int) float64 {
	if k+1 < len(r.nodes) {
		return r.nodes[k+1]
	}
	return math.Inf(1)
}

// step takes the next step.
func (r *solverRun) step() error {
	k := len(r.weights)
	y := r.y[k]
	if len(r.noise) == k {
		noise := make([]float32, len(y))
		if err := r.predict(noise, y, r.nodes[k]); err != nil {
			return err
		}
		r.noise = append(r.noise, noise)
	}
	terms := [][]float32{y} // what the step combines
	for j := k; j >= max(0, k+1-solverTerms); j-- {
		terms = append(terms, r.noise[j])
	}
	want := r.s.at(r.target(k))
	var w []float64
	if r.given != nil {
		w = r.given[k]
	} else {
		var err error
		if w, err = r.fit(k, terms, want); err != nil {
			return err
		}
	}
	to := make([]float32, len(y))
	for j, v := range w {
		add(to, v, terms[j])
	}
	r.weights, r.y = append(r.weights, w), append(r.y, to)
	r.near = append(r.near, r.nearness(to, want, r.target(k)))
	return nil
}

// finish takes all steps that are left.
func (r *solverRun) finish() error {
	for len(r.weights) < len(r.nodes) {
		if err := r.step(); err != nil {
			return err
		}
	}
	return nil
}

// fit returns the weights of step k that take a combination of terms nearest to what is wanted. The
// ridge pulls them towards Adams' method.
func (r *solverRun) fit(k int, terms [][]float32, want []float32) ([]float64, error) {
	w := append([]float64{1}, adams(r.nodes, k, len(terms)-1)...)
	left := slices.Clone(want)
	weighed := make([][]float32, len(terms))
	for j, x := range terms {
		add(left, -w[j], x)
		weighed[j] = slices.Clone(x)
		r.s.weigh(weighed[j], r.target(k))
	}
	r.s.weigh(left, r.target(k))
	a, b := make([][]float64, len(terms)), make([]float64, len(terms))
	for i, x := range weighed {
		a[i] = make([]float64, len(terms))
		for j, y := range weighed[:i+1] {
			a[i][j] = inner(x, y)
			a[j][i] = a[i][j]
		}
		a[i][i] *= 1 + r.ridge
		b[i] = inner(x, left)
	}
	change, ok := solvePositive(a, b)
	if !ok {
		return nil, fmt.Errorf("the weights of step %d are not determined: want more images, or a larger ridge", k)
	}
	for j, v := range change {
		w[j] += v
	}
	return w, nil
}

// inner returns the sum of the products, which is taken in float64.
func inner(x, y []float32) float64 {
	sum := 0.0
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return sum
}

// solvePositive solves a·x = b for a symmetric, positive definite a by Gauss' elimination, which
// changes both. ok is false where a is singular to rounding.
func solvePositive(a [][]float64, b []float64) (x []float64, ok bool) {
	n := len(b)
	for i := range n {
		if !(a[i][i] > 0) {
			return nil, false
		}
		for j := i + 1; j < n; j++ {
			f := a[j][i] / a[i][i]
			for l := i; l < n; l++ {
				a[j][l] -= f * a[i][l]
			}
			b[j] -= f * b[i]
		}
	}
	x = make([]float64, n)
	for i := n - 1; i >= 0; i-- {
		x[i] = b[i]
		for j := i + 1; j < n; j++ {
			x[i] -= a[i][j] * x[j]
		}
		x[i] /= a[i][i]
	}
	return x, true
}

// adams returns the weights of some predictions, the newest first, at step k: the integral over
// Sigma/Alpha of the polynomial in log-SNR through up to three of them or, at the last step, which
// ends without noise, of the newest alone.
func adams(nodes []float64, k, terms int) []float64 {
	w := make([]float64, terms)
	from := nodes[k]
	if k+1 == len(nodes) {
		w[0] = -math.Exp(-from)
		return w
	}
	const pieces = 64 // of the midpoint rule
	order, h := min(terms, 3), (nodes[k+1]-from)/pieces
	for piece := range pieces {
		at := from + (float64(piece)+0.5)*h
		ds := math.Exp(-at-h/2) - math.Exp(-at+h/2)
		for j := range order {
			c := 1.0
			for i := range order {
				if i != j {
					c *= (at - nodes[k-i]) / (nodes[k-j] - nodes[k-i])
				}
			}
			w[j] += c * ds
		}
	}
	return w
}

// nearness returns how near y is to what is wanted at a log-SNR: the mean over images of their PSNR
// in dB, of values in [-1,1], where deviations count as they survive.
func (r *solverRun) nearness(y, want []float32, logSNR float64) float64 {
	d := slices.Clone(want)
	add(d, -1, y)
	r.s.weigh(d, logSNR)
	mean := 0.0
	for at := 0; at < len(d); at += r.s.size {
		x := d[at : at+r.s.size]
		mean += decibels(inner(x, x), r.s.size)
	}
	return mean / float64(r.s.images)
}

// decibels returns the PSNR of values in [-1,1] whose differences have a sum of squares.
func decibels(squares float64, values int) float64 {
	return 10 * math.Log10(4*float64(values)/(squares+1e-12))
}

// fidelity compares the result with the solution.
func (r *solverRun) fidelity(seed uint64) Fidelity {
	f := Fidelity{Min: math.Inf(1), Images: r.s.images, Seed: seed}
	clamp := func(v float32) float64 { return float64(min(max(v, -1), 1)) }
	got := r.y[len(r.y)-1]
	for at := 0; at < len(got); at += r.s.size {
		sum := 0.0
		for k := at; k < at+r.s.size; k++ {
			d := clamp(got[k]) - clamp(r.s.final[k])
			sum += d * d
		}
		db := decibels(sum, r.s.size)
		f.Mean += db / float64(r.s.images)
		f.Min = min(f.Min, db)
	}
	f.Mean, f.Min = RoundPSNR(f.Mean), RoundPSNR(f.Min)
	return f
}

// learned returns what was fitted.
func (r *solverRun) learned() (*diffusion.LearnedSolver, error) {
	l := &diffusion.LearnedSolver{Schedule: r.s.schedule.Name()}
	for k, node := range r.nodes {
		l.Timesteps = append(l.Timesteps, r.s.schedule.Timestep(node))
		w := slices.Clone(r.weights[k])
		for j := range w[1:] {
			w[1+j] /= math.Exp(-r.target(k)) - math.Exp(-node)
		}
		l.Weights = append(l.Weights, w)
	}
	return l, l.Validate()
}
