package diffusion

// Sampler is a way down from noise to a sample: [DDPM], [DDIM], [DPMSolver], [Multistep] or
// [Dopri5]. A
// Sampler is immutable and may be shared; the state of one image is its [Trajectory].
type Sampler interface {
	// Steps is the number of steps, each of which evaluates the network once.
	Steps() int
	// Timestep is the timestep that the model is told at index i, which counts down from Steps()-1
	// to 0.
	Timestep(i int) float64
	// LogSNR is the log-SNR at index i, log(alpha/sigma) where x is alpha*x_0 + sigma*noise; at
	// index -1 that of the finished sample, +Inf where no noise is left. It never falls from one
	// step to the next, and stays where a sampler evaluates twice at one timestep.
	LogSNR(i int) float64
	// Sigma is the noise at index i relative to the signal, exp(-LogSNR(i)).
	Sigma(i int) float64
	// DrawsNoise tells whether the published sampling loop draws noise at every step, the last
	// included. Whoever wants its random numbers draws just then, even where they end up multiplied
	// by zero.
	DrawsNoise() bool

	// memory tells how many predictions a trajectory keeps, and whether it has a base.
	memory() (past int, base bool)
	// startScale is what starting noise is multiplied by.
	startScale() float32

	// step moves t.x from index i to i-1 and leaves the predicted x_0 in t.x0. out is [C*HW]
	// epsilon, or [2*C*HW] epsilon and variance values.
	step(t *Trajectory, i int, out, noise []float32)
}
