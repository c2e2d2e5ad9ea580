package calibrate

import (
	"math"

	"github.com/tokencache/tokencache/reuse"
)

// terms is how many past I-steps a learned forecast looks back to.
const terms = 3

// How strongly the weights of all tokens together are drawn to Taylor's, and those of each token to these, relative to the size of what they weight.
const ridge, tokenRidge = 0.001, 1.0

// mostGap is the most steps between two I-steps that placing considers, beyond twice the average.
const mostGap = 6

// solve returns the weights of values at positions qs, the newest first, that come nearest to the value at p by least squares, the weights in the basis of finite differences, and the
// error that is left. In that basis each weight is shrunk towards one that is given, or Taylor's: so that values that hardly differ do not get large weights of opposite sign.
func solve(inner func(p, q int) float64, p int, qs []int, ridge float64, towards []float64) (weights, differences []float64, left float64) {
	k := len(qs)
	// Basis vector i is the i-th finite difference of the newest values (see reuse.TokenCache), in weights over qs.
	basis, prior := make([][]float64, k), [terms]float64{1}
	for i := range basis {
		basis[i] = make([]float64, k)
	}
	basis[0][0] = 1
	h := float64(p - qs[0])
	if k > 1 {
		gap := float64(qs[0] - qs[1])
		basis[1][0], basis[1][1], prior[1] = 1/gap, -1/gap, h
		if k > 2 {
			before := float64(qs[1] - qs[2])
			basis[2][0], basis[2][1], basis[2][2], prior[2] = 1/(gap*gap), -1/(gap*gap)-1/(gap*before), 1/(gap*before), h*h/2
		}
	}
	copy(prior[:], towards)
	var a [terms][terms]float64
	var b [terms]float64
	product := func(u, v []float64) float64 {
		sum := 0.0
		for i, x := range u {
			for j, y := range v {
				if x != 0 && y != 0 {
					sum += x * y * inner(qs[i], qs[j])
				}
			}
		}
		return sum
	}
	for i := range k {
		for j := range k {
			a[i][j] = product(basis[i], basis[j])
		}
		for j, x := range basis[i] {
			b[i] += x * inner(p, qs[j])
		}
	}
	plain, target := a, b
	for i := range k {
		shrink := ridge*a[i][i] + 1e-12
		a[i][i] += shrink
		b[i] += shrink * prior[i]
	}
	c := gauss(a, b, k)
	left = inner(p, p)
	for i := range k {
		left -= 2 * c[i] * target[i]
		for j := range k {
			left += c[i] * c[j] * plain[i][j]
		}
	}
	weights = make([]float64, k)
	for i := range k {
		for j, x := range basis[i] {
			weights[j] += c[i] * x
		}
	}
	return weights, append([]float64(nil), c[:k]...), max(left, 0)
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

// dataDeviation is about that of pixels in [-1,1]; of latents, which are scaled to 1, it is not far off.
const dataDeviation = 0.5

// weightsOf returns how much a relative error of the model's output at each position matters for the sample that comes out: in x/sqrt(alpha-bar), whose noise has deviation sigma, a step adds the
// output times the fall of sigma, and for data of deviation s an error made there is carried to the end by s/sqrt(s²+sigma²).
func weightsOf(sigma []float64) []float64 {
	w := make([]float64, len(sigma))
	for p := range w {
		next := 0.0
		if p+1 < len(sigma) {
			next = sigma[p+1]
		}
		f := (sigma[p] - next) * dataDeviation / math.Hypot(dataDeviation, sigma[p])
		w[p] = f * f
	}
	return w
}

// place returns the positions of count I-steps, the first step among them, that make the weighted errors of the forecasts in between least, by dynamic programming over the last
// three I-steps.
func place(total [][]float64, weights []float64, count int) []int {
	steps := len(total)
	if count >= steps {
		return all(steps)
	}
	inner := func(p, q int) float64 { return total[p][q] }
	gap := min(steps, 2*steps/max(count, 1)+mostGap)
	type state struct{ a, b, c int } // the last three I-steps, the last is c; -1 is none
	type entry struct {
		cost float64
		from state
	}
	segments := map[state][]float64{}
	// segment returns the cost of no I-step from c+1 up to each position.
	segment := func(s state) []float64 {
		if list, ok := segments[s]; ok {
			return list
		}
		qs := []int{s.c}
		for _, q := range []int{s.b, s.a} {
			if q >= 0 {
				qs = append(qs, q)
			}
		}
		var list []float64
		sum := 0.0
		for p := s.c + 1; p <= steps && p <= s.c+gap; p++ {
			list = append(list, sum)
			if p < steps {
				_, _, left := solve(inner, p, qs, ridge, nil)
				sum += weights[p] * left / total[p][p]
			}
		}
		segments[s] = list
		return list
	}
	layers := make([]map[state]entry, count+1)
	layers[1] = map[state]entry{{-1, -1, 0}: {}}
	for j := 1; j < count; j++ {
		layers[j+1] = map[state]entry{}
		for s, e := range layers[j] {
			for i, cost := range segment(s) {
				d := s.c + 1 + i
				if d >= steps {
					break
				}
				next := state{s.b, s.c, d}
				if old, ok := layers[j+1][next]; !ok || e.cost+cost < old.cost {
					layers[j+1][next] = entry{e.cost + cost, s}
				}
			}
		}
	}
	best, bestCost, found := state{}, math.Inf(1), false
	for s, e := range layers[count] {
		list := segment(s)
		if s.c+len(list) < steps {
			continue // the end is too far
		}
		cost := e.cost + list[len(list)-1]
		if cost < bestCost || cost == bestCost && s.c > best.c {
			best, bestCost, found = s, cost, true
		}
	}
	if !found {
		return nil
	}
	list := make([]int, count)
	for j := count; j >= 1; j-- {
		list[j-1] = best.c
		best = layers[j][best].from
	}
	return list
}

func all(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// learn returns the weights of the forecasts at all P-steps between I-steps: first for all tokens together, then for each, shrunk towards those.
func learn(g *gram, isteps []int) *reuse.Forecast {
	f := &reuse.Forecast{Steps: g.steps, Tokens: g.tokens, Terms: terms, Weights: make([]float32, g.steps*g.tokens*terms)}
	total := g.total()
	next := 0
	for p := range g.steps {
		if next < len(isteps) && isteps[next] == p {
			next++
			continue
		}
		var qs []int
		for i := next - 1; i >= 0 && len(qs) < terms; i-- {
			qs = append(qs, isteps[i])
		}
		_, together, _ := solve(func(p, q int) float64 { return total[p][q] }, p, qs, ridge, nil)
		for n := range g.tokens {
			own, _, _ := solve(func(p, q int) float64 { return g.at(n, p, q) }, p, qs, tokenRidge, together)
			for i := range qs {
				f.Weights[(p*g.tokens+n)*terms+i] = float32(own[i])
			}
		}
	}
	return f
}
