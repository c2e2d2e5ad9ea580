package diffusion

import "math"

// DPMSolver is DPM-Solver++(2M) of Lu et al. 2022 (arXiv 2211.01095), algorithm 2: the
// deterministic multistep solver of second order on the predicted x_0, on the steps of a respaced
// process. The first step, which has no history, and the last, which goes to noise zero where the
// second-order term is not defined, are of first order.
type DPMSolver struct {
	*Process
	ClipDenoised bool // clamp every predicted x_0 to [-1, 1]
}

// DrawsNoise reports false.
func (DPMSolver) DrawsNoise() bool { return false }

func (DPMSolver) memory() (past int, base bool) { return 1, false }

func (d DPMSolver) step(t *Trajectory, i int, out, _ []float32) {
	n := len(t.x)
	t.past[0], t.x0 = t.x0, t.past[0]
	d.predictXStart(t.x0, t.x, out[:n], i, d.ClipDenoised)
	if i == 0 {
		copy(t.x, t.x0)
		return
	}
	// With lambda = log(alpha/sigma), h = lambda_{i-1} - lambda_i and D the estimate of x_0 over
	// the step:
	//   x_{i-1} = sigma_{i-1}/sigma_i * x_i - alpha_{i-1} * (exp(-h) - 1) * D
	h := d.LogSNR(i-1) - d.LogSNR(i)
	toX := float32(math.Sqrt((1 - d.alphaCumprod[i-1]) / (1 - d.alphaCumprod[i])))
	toD := -math.Sqrt(d.alphaCumprod[i-1]) * math.Expm1(-h)
	if t.taken == 0 {
		combine(t.x, toX, t.x, float32(toD), t.x0)
		return
	}
	// D = (1 + w) x_0 at i - w x_0 at i+1, the linear extrapolation to the middle of the step.
	w := h / (2 * (d.LogSNR(i) - d.LogSNR(i+1)))
	now, before := float32(toD*(1+w)), float32(-toD*w)
	for k, x0 := range t.x0 {
		t.x[k] = float32(toX*t.x[k]) + float32(now*x0) + float32(before*t.past[0][k])
	}
}
