package diffusion

import (
	"fmt"
	"math"
	"strings"
)

// Sampler is a way down from noise to a sample: [DDPM], [DDIM] or [DPMSolver]. A Sampler is immutable and may be shared; the
// state of one image is its [Trajectory].
type Sampler interface {
	// Steps is the number of steps.
	Steps() int
	// Timestep is the timestep that the model is told at index i, which counts down from Steps()-1 to 0.
	Timestep(i int) int
	// AlphaCumprod is alpha-bar at index i: the share of x_0's variance in x_i.
	AlphaCumprod(i int) float64
	// DrawsNoise tells whether the published sampling loop draws noise at every step, the last included. Whoever wants its
	// random numbers draws just then, even where they end up multiplied by zero.
	DrawsNoise() bool

	// step moves t.x from index i to i-1 and leaves the predicted x_0 in t.x0. out is [C*HW] epsilon, or [2*C*HW] epsilon
	// and variance values.
	step(t *Trajectory, i int, out, noise []float32)
}

// Methods are the names of the samplers, as Plan.Method takes them.
func Methods() []string { return []string{"ddpm", "ddim", "dpm++"} }

// Plan names a sampling run as a user does.
type Plan struct {
	Method       string   // one of Methods
	Steps        string   // a specification for Space: "50", "ddim50", "10,15,20"
	Schedule     string   // "linear", the default, or "cosine"; always over 1000 timesteps
	Eta          float64  // ddim alone: 0 is deterministic, 1 as noisy as ddpm
	Variance     Variance // ddpm alone
	ClipDenoised bool     // clamp every predicted x_0 to [-1, 1]; for models of pixels, not of latents
}

// Sampler makes the sampler that the plan names. An error says which name or number is wrong and what is right.
func (p Plan) Sampler() (Sampler, error) {
	schedule, err := ParseSchedule(p.Schedule, Timesteps)
	if err != nil {
		return nil, err
	}
	if p.Steps == "" {
		return nil, fmt.Errorf("number of steps is missing: want 1 to %d", Timesteps)
	}
	process, err := NewProcess(schedule, p.Steps)
	if err != nil {
		return nil, err
	}
	if p.Method != "ddim" && p.Eta != 0 {
		return nil, fmt.Errorf("eta %v: sampler %q has no eta, only ddim has", p.Eta, p.Method)
	}
	switch p.Method {
	case "ddpm":
		if p.Variance < LearnedRange || p.Variance > FixedLarge {
			return nil, fmt.Errorf("unknown variance %d", p.Variance)
		}
		return DDPM{Process: process, Variance: p.Variance, ClipDenoised: p.ClipDenoised}, nil
	case "ddim":
		if math.IsNaN(p.Eta) || p.Eta < 0 || p.Eta > 1 {
			return nil, fmt.Errorf("eta %v: want 0 to 1", p.Eta)
		}
		return DDIM{Process: process, Eta: p.Eta, ClipDenoised: p.ClipDenoised}, nil
	case "dpm++":
		return DPMSolver{Process: process, ClipDenoised: p.ClipDenoised}, nil
	}
	return nil, fmt.Errorf("unknown sampler %q: want %s", abbreviate(p.Method), strings.Join(Methods(), ", "))
}
