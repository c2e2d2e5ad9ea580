package diffusion

import (
	"fmt"
	"math"
	"testing"
)

// mixture is data from normal distributions of equal weight, for which the best prediction of noise
// is known, and the probability flow can be followed in float64.
type mixture []gaussian

// epsilon returns the best prediction of the noise in x.
func (m mixture) epsilon(x float64, l Level) float64 {
	var weights, sum float64
	for _, g := range m {
		variance := l.Alpha*l.Alpha*g.deviation*g.deviation + l.Sigma*l.Sigma
		d := x - l.Alpha*g.mean
		w := math.Exp(-d*d/(2*variance)) / math.Sqrt(variance)
		weights += w
		sum += w * l.Sigma * d / variance
	}
	return sum / weights
}

// flow takes x along the probability flow, d(x/Alpha) = epsilon d(Sigma/Alpha), by the classical
// Runge-Kutta method in log-SNR: 4000 steps of 0.003, whose error is far below float32's.
func (m mixture) flow(x float64, from, to Level) float64 {
	const steps = 4000
	lambda, h := from.LogSNR(), (to.LogSNR()-from.LogSNR())/steps
	y := x / from.Alpha
	slope := func(y, lambda float64) float64 {
		l := levelOfLogSNR(lambda)
		return -math.Exp(-lambda) * m.epsilon(y*l.Alpha, l)
	}
	for range steps {
		k1 := slope(y, lambda)
		k2 := slope(y+h/2*k1, lambda+h/2)
		k3 := slope(y+h/2*k2, lambda+h/2)
		k4 := slope(y+h*k3, lambda+h)
		y += h / 6 * (k1 + 2*k2 + 2*k3 + k4)
		lambda += h
	}
	return y * to.Alpha
}

var twoModes = mixture{{-0.8, 0.3}, {0.6, 0.2}}

// errorOn returns the largest error of a solver's end on data, from a few starts.
func errorOn(t *testing.T, data mixture, s Sampling) float64 {
	t.Helper()
	m := mustMultistep(t, s)
	start := []float32{-2, -1, 0.3, 1, 2}
	tr := NewTrajectory(m, start)
	eps := make([]float32, len(start))
	for !tr.Done() {
		level := m.Level(tr.Index())
		for k, x := range tr.X() {
			eps[k] = float32(data.epsilon(float64(x), level))
		}
		tr.Step(eps, nil)
	}
	worst := 0.0
	for k, x := range tr.X() {
		exact := data.flow(float64(start[k]), m.Level(m.Steps()-1), m.Level(-1))
		worst = max(worst, math.Abs(float64(x)-exact))
	}
	return worst
}

// TestSolverOrders checks how fast the error falls with the number of steps, on spacings that are
// not even in anything that the solvers are derived by. Runs end where noise is left and keep their
// order. The corrector gives unipc one order more. diffusers' third order of dpm and dpm++ is a
// better second, see heunMoments.
func TestSolverOrders(t *testing.T) {
	for _, test := range []struct {
		sampling Sampling
		steps    int // of the coarser run
		want     float64
	}{
		{Sampling{Sampler: "ddim"}, 40, 1},
		{Sampling{Sampler: "euler"}, 40, 1},
		{Sampling{Sampler: "heun"}, 40, 2},
		{Sampling{Sampler: "dpm++", Order: 1}, 40, 1},
		{Sampling{Sampler: "dpm++"}, 40, 2},
		{Sampling{Sampler: "dpm++", Variant: "heun"}, 40, 2},
		{Sampling{Sampler: "dpm++", Order: 3}, 160, 2},
		{Sampling{Sampler: "dpm", Order: 1}, 40, 1},
		{Sampling{Sampler: "dpm"}, 160, 2},
		{Sampling{Sampler: "dpm", Variant: "heun"}, 40, 2},
		{Sampling{Sampler: "dpm", Order: 3}, 160, 2},
		{Sampling{Sampler: "deis", Order: 1}, 40, 1},
		{Sampling{Sampler: "deis"}, 40, 2},
		{Sampling{Sampler: "deis", Order: 3}, 40, 3},
		{Sampling{Sampler: "unipc", Order: 1}, 40, 2},
		{Sampling{Sampler: "unipc"}, 40, 3},
		{Sampling{Sampler: "unipc", Variant: "bh1"}, 40, 3},
		{Sampling{Sampler: "unipc", Order: 3}, 40, 4},
		{Sampling{Sampler: "unipc", Order: 1, Predict: PredictEps}, 40, 2},
		{Sampling{Sampler: "unipc", Predict: PredictEps}, 40, 3},
		{Sampling{Sampler: "unipc", Order: 3, Predict: PredictEps}, 20, 4},
		{Sampling{Sampler: "lms", Order: 1}, 40, 1},
		{Sampling{Sampler: "lms", Order: 2}, 40, 2},
		{Sampling{Sampler: "lms", Order: 3}, 80, 3},
		{Sampling{Sampler: "lms"}, 80, 4},
	} {
		for _, spacing := range []string{spacingLogSNR, spacingQuadratic} {
			s := test.sampling
			s.Spacing, s.Final, s.Steps = spacing, FinalSigmaMin, test.steps
			m, _ := s.method()
			s.NoLowerOrderFinal = m.lower
			t.Run(describe(s), func(t *testing.T) {
				coarse := errorOn(t, twoModes, s)
				s.Steps *= 2
				fine := errorOn(t, twoModes, s)
				order := math.Log2(coarse / fine)
				t.Logf("error %.2g in %d steps, %.2g in twice as many: order %.2f", coarse, test.steps, fine, order)
				if math.Abs(order-test.want) > 0.5 {
					t.Errorf("order %.2f, want %v", order, test.want)
				}
			})
		}
	}
}

// TestPNDMOrder checks that pndm, whose steps are even in time, is well above the second order
// until the last timesteps, where alpha-bar bends most, and the rounding of timesteps take over.
func TestPNDMOrder(t *testing.T) {
	errorIn := func(steps int) float64 {
		return errorOn(t, twoModes, Sampling{Sampler: "pndm", Steps: steps, Final: FinalSigmaMin})
	}
	coarse, fine := errorIn(10), errorIn(50)
	if order := math.Log(coarse/fine) / math.Log(49./9); order < 3 {
		t.Errorf("error %.2g in 10 steps, %.2g in 50: order %.2f, want 3 or more", coarse, fine, order)
	}
}

// TestStochasticVariance checks that stochastic samplers leave normal data with its variance. What
// they make of it is linear in the starting noise and in each draw, so its variance is a sum of
// squares.
func TestStochasticVariance(t *testing.T) {
	data := gaussian{0, 0.5}
	for _, s := range []Sampling{
		{Sampler: "sde-dpm++", Order: 1},
		{Sampler: "sde-dpm++"},
		{Sampler: "sde-dpm++", Variant: "heun"},
		{Sampler: "sde-dpm", Order: 1},
		{Sampler: "sde-dpm"},
		{Sampler: "sde-dpm", Variant: "heun"},
		{Sampler: "euler_a"},
		{Sampler: "ddim", Eta: 1},
		{Sampler: "ddim", Eta: 0.5},
	} {
		t.Run(fmt.Sprintf("%s,%d,%s,%g", s.Sampler, s.order(), s.Variant, s.Eta), func(t *testing.T) {
			s.Spacing, s.Final = spacingLogSNR, FinalSigmaMin
			deviation := func(steps int) float64 {
				s.Steps = steps
				m := mustMultistep(t, s)
				end := m.Level(-1)
				want := math.Hypot(end.Alpha*data.deviation, end.Sigma)
				return math.Abs(math.Sqrt(varianceOf(m, data))/want - 1)
			}
			coarse, fine := deviation(50), deviation(200)
			t.Logf("deviation is off by %.3g in 50 steps, by %.3g in 200", coarse, fine)
			if fine > 0.05 || fine > coarse/2 {
				t.Errorf("deviation is off by %.3g in 50 steps, by %.3g in 200", coarse, fine)
			}
		})
	}
}

// varianceOf returns the variance of what a sampler makes of normal data without a mean.
func varianceOf(m *Multistep, data gaussian) float64 {
	// One value for the starting noise, and one for each draw.
	n := 1 + m.Steps()
	x, eps, noise := make([]float32, n), make([]float32, n), make([]float32, n)
	x[0] = 1
	tr := NewTrajectory(m, x)
	for k := 1; !tr.Done(); k++ {
		level := m.Level(tr.Index())
		for j, v := range tr.X() {
			eps[j] = float32(mixture{data}.epsilon(float64(v), level))
		}
		clear(noise)
		noise[k] = 1
		tr.Step(eps, noise)
	}
	sum := 0.0
	for _, v := range tr.X() {
		sum += float64(v) * float64(v)
	}
	return sum
}
