package diffusion

import (
	"fmt"
	"math"
)

// Timesteps is the number of timesteps that the published DiT and MDT models are trained on.
const Timesteps = 1000

// Schedule is a model's curve of levels over timesteps, from noise at high ones to data at 0: of a
// noise schedule, the variance beta_t that each of the timesteps 0 to 999 adds, or of a flow, a
// Path. It is immutable.
type Schedule struct {
	path       Path // of a flow, which has no betas
	prediction Prediction
	noise      float64 // of a flow: see Network.NoiseScale
	floor      float64 // likewise, Network.Floor

	betas []float64
	logs  []float64 // log alpha-bar

	// single is alpha-bar as PyTorch computes it in float32: 1-beta is rounded, and so is the
	// product, which is accumulated in float64. The recorded spacings start from it: exact values
	// move some of their rounded timesteps by one.
	single []float64
}

// ParseSchedule gives the schedule of that name: "linear" (also the empty name) or "cosine", over n
// timesteps, or that of a flow, "flow-linear", "flow-gvp" or "flow-vp".
func ParseSchedule(name string, n int) (Schedule, error) {
	switch name {
	case "", "linear":
		return Linear(n)
	case "cosine":
		return Cosine(n)
	}
	if path, ok := flowSchedules[name]; ok {
		return Flow(path)
	}
	return Schedule{}, fmt.Errorf("unknown noise schedule %q: want linear, cosine, flow-linear, flow-gvp or flow-vp", name)
}

// Linear is the schedule of Ho et al. 2020, section 4: betas rise evenly from 1e-4 to 0.02 over
// 1000 timesteps. For another number n both ends are scaled by 1000/n, so that the noise at the end
// stays about the same; n below 21 would make the last beta 1 or more and is an error.
func Linear(n int) (Schedule, error) {
	if n < 21 {
		return Schedule{}, fmt.Errorf("linear noise schedule of %d timesteps: want at least 21", n)
	}
	scale := 1000 / float64(n)
	first, last := scale*0.0001, scale*0.02
	step := (last - first) / float64(n-1)
	betas := make([]float64, n)
	for t := range betas {
		betas[t] = float64(float64(t)*step) + first
	}
	betas[n-1] = last
	return newSchedule(betas, evenly32(first, last, n)), nil
}

// Cosine is the schedule of Nichol and Dhariwal 2021, equation 17: alpha-bar follows a squared
// cosine, and no beta exceeds 0.999.
func Cosine(n int) (Schedule, error) {
	if n < 1 {
		return Schedule{}, fmt.Errorf("cosine noise schedule of %d timesteps: want at least 1", n)
	}
	alphaBar := func(t int) float64 {
		c := math.Cos((float64(t)/float64(n) + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	betas := make([]float64, n)
	for t := range betas {
		betas[t] = min(1-alphaBar(t+1)/alphaBar(t), 0.999)
	}
	single := make([]float32, n)
	for t, beta := range betas {
		single[t] = float32(beta)
	}
	return newSchedule(betas, single), nil
}

// evenly32 returns n numbers from first to last as PyTorch spaces them in float32: each half is
// counted from its own end, with one rounding.
func evenly32(first, last float64, n int) []float32 {
	a, b := float32(first), float32(last)
	step := (b - a) / float32(n-1)
	out := make([]float32, n)
	for i := range out {
		if i < n/2 {
			out[i] = float32(float64(a) + float64(step)*float64(i))
		} else {
			out[i] = float32(float64(b) - float64(step)*float64(n-1-i))
		}
	}
	return out
}

// newSchedule returns the schedule of betas, and of the same as float32.
func newSchedule(betas []float64, single []float32) Schedule {
	s := Schedule{betas: betas, logs: make([]float64, len(betas)), single: make([]float64, len(betas))}
	log, product := 0.0, 1.0
	for t, beta := range betas {
		log += math.Log1p(-beta)
		product *= float64(1 - single[t])
		s.logs[t], s.single[t] = log, float64(float32(product))
	}
	return s
}

// Timesteps is the number of timesteps of the schedule, or the length of a flow's.
func (s Schedule) Timesteps() int {
	if s.IsFlow() {
		return Timesteps
	}
	return len(s.betas)
}
