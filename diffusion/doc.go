// Package diffusion turns a network that predicts noise into samples: noise schedules and their
// spacings, the samplers DDPM and DDIM, the solvers of the DPM-Solver family, UniPC, DEIS, LMS,
// PNDM, Euler and Heun, classifier-free guidance, and the random numbers they draw. [Converge]
// solves the probability-flow ODE that the deterministic ones approximate.
//
// It works on plain slices of float32 and knows neither tensors nor models: the caller runs the
// network and hands its output to a [Trajectory], which is the state of one image. Images of one
// batch may therefore stand at different steps.
//
//	sampler, err := diffusion.Sampling{Sampler: "ddim", Steps: 50}.New(diffusion.Network{})
//	noise := diffusion.NewStream(seed, image)
//	noise.Normal(x)
//	tr := diffusion.NewTrajectory(sampler, x)
//	for !tr.Done() {
//		out := model(tr.X(), tr.Timestep())
//		if sampler.DrawsNoise() {
//			noise.Normal(z)
//		}
//		tr.Step(out, z)
//	}
//
// Notation follows Ho et al. 2020 (arXiv 2006.11239) and Nichol and Dhariwal 2021 (arXiv
// 2102.09672): x_0 is data, x_t is data with noise, beta_t the variance added at step t, and
// alpha-bar_t (here AlphaCumprod) the share of x_0's variance left in x_t. The solvers' papers
// write x as alpha*x_0 + sigma*noise, a [Level], and place steps by log-SNR, log(alpha/sigma).
// Tables are computed in float64 and rounded to float32 where they meet the elements, and no
// product is fused with a sum, which is how the models' public PyTorch code rounds.
//
// Slices of the wrong length are the caller's mistake and panic; what a user can get wrong (names,
// numbers of steps) is checked by [Sampling], [Space] and the schedules, which return errors.
package diffusion
