package diffusion

import (
	"cmp"
	"math"
)

// weights are a combination by the age of predictions: past[0] is this step's.
type weights struct {
	x, x0, noise float64
	past         []float64
}

// slotted returns the combination of weights at a step that keeps its prediction in a ring of
// slots.
func (w weights) slotted(call, slots int) combination {
	c := combination{float32(w.x), float32(w.x0), float32(w.noise), make([]float32, slots)}
	for age, v := range w.past {
		c.kept[(call-age+slots)%slots] = float32(v)
	}
	return c
}

// newMultistep returns a solver with a step at each point of a grid, and slots for past
// predictions, but no moves.
func (s Sampling) newMultistep(g grid, keeps predicted, slots int) *Multistep {
	m := &Multistep{steps: make([]step, len(g.points)), end: g.end, keeps: keeps, slots: slots, clip: s.Clip, start: startOf(g)}
	for k, p := range g.points {
		m.steps[k] = step{point: p, slot: k % slots}
	}
	return m
}

// startOf returns what standard normal noise is multiplied by to start at the first point of a grid,
// which is about as large as x is there. It is 1 where levels preserve the variance.
func startOf(g grid) float32 {
	if len(g.points) == 0 || g.plain {
		return float32(cmp.Or(g.noise, 1))
	}
	first := g.points[0].level
	if scale := math.Hypot(first.Alpha, first.Sigma); math.Abs(scale-1) > 1e-6 {
		return float32(scale)
	}
	return 1
}

// add gives step k another move, for where past steps were taken before.
func (m *Multistep) add(k, past int, w weights) {
	m.steps[k].moves = append(m.steps[k].moves, move{past: past, to: w.slotted(k, m.slots)})
}

// noStep is a growth of log-SNR that is only rounding: nothing moves.
const noStep = 1e-10

// firstOrder returns the step that takes the prediction as constant, which is DDIM's (Song et al.
// 2021, equation 12), and also Euler's for x/Alpha by Sigma/Alpha. It may end without noise.
func firstOrder(p predicted, from, to Level) weights {
	if math.Abs(to.LogSNR()-from.LogSNR()) < noStep {
		return weights{x: 1}
	}
	if p == predictedX0 {
		return weights{x: to.Sigma / from.Sigma, past: []float64{to.Alpha - to.Sigma*from.Alpha/from.Sigma}}
	}
	if from.Alpha == 0 { // x is noise, and only the predicted x_0 says more
		return weights{x: to.Sigma / from.Sigma, x0: to.Alpha}
	}
	return weights{x: to.Alpha / from.Alpha, past: []float64{to.Sigma - to.Alpha*from.Sigma/from.Alpha}}
}

// past returns the log-SNRs of point k and of up to n-1 points before it. It ends where two are the
// same, as rounded spacings may have them, and at a point without data, which is infinitely far.
func (g grid) past(k, n int) []float64 {
	lambdas := []float64{g.level(k).LogSNR()}
	for j := 1; j < n && k-j >= 0; j++ {
		before := g.level(k - j).LogSNR()
		if lambdas[j-1]-before < noStep || math.IsInf(before, -1) {
			break
		}
		lambdas = append(lambdas, before)
	}
	return lambdas
}

// momentsOf gives a solver's moments for a polynomial through n predictions, see quadrature.
type momentsOf func(n int, z float64) []float64

// exponential returns the step of an exponential integrator from one level to another, through
// predictions at the log-SNRs lambdas. Their order is that of the weights, the first is that of
// from.
func exponential(p predicted, from, to Level, lambdas []float64, moments momentsOf) weights {
	h := to.LogSNR() - lambdas[0]
	if len(lambdas) == 1 || h < noStep {
		return firstOrder(p, from, to)
	}
	nodes := make([]float64, len(lambdas))
	for j, lambda := range lambdas {
		nodes[j] = (lambda - lambdas[0]) / h
	}
	w, scale, z := weights{x: to.Sigma / from.Sigma}, to.Alpha*h, -h
	if p == predictedNoise {
		w.x, scale, z = to.Alpha/from.Alpha, -to.Sigma*h, h
	}
	w.past = quadrature(nodes, moments(len(nodes), z))
	for j := range w.past {
		w.past[j] *= scale
	}
	return w
}

// orderAt returns the order of step k of n, counted up, where order is the solver's and shortRuns
// is the number of steps from which on the order stays until the end.
func (s Sampling) orderAt(k, n, shortRuns int) int {
	order := s.order()
	if !s.NoLowerOrderFinal && n < shortRuns {
		order = min(order, n-k)
	}
	if k == n-1 && (s.Final != FinalSigmaMin || s.EulerAtFinal) {
		order = 1
	}
	return order
}
