package diffusion

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
