// Package diffusion turns a network into samples: noise schedules, paths of flows and their
// spacings, the samplers DDPM and DDIM, the solvers of the DPM-Solver family, UniPC, DEIS, LMS,
// PNDM, Euler and Heun, SiT's ODE and SDE, classifier-free guidance, and the random numbers they
// draw. [Converge] solves the probability-flow ODE that the deterministic ones approximate.
//
// # Noise models and flows
//
// Both are x = alpha*x_0 + sigma*noise along a curve of levels, the [Schedule]: of betas, where
// alpha^2 + sigma^2 = 1 at whole timesteps 0 to 999, or a flow's [Path], at any from 1000 for noise
// to 0 for data. A timestep is what the network is told, up to a change of unit that is its own
// affair; a [Level] is where x is; log-SNR, log(alpha/sigma), is where one curve meets another.
// Solvers are written by levels and log-SNR alone, so they do not know which curve it is. At the
// noisy end of a flow log-SNR is infinite: there a solver has no past to extrapolate from, and takes
// x_0 as predicted.
//
// What the network predicts, noise, x_0, score or velocity, is a [Prediction]. At a level each is a
// linear function of the others and of x. A solver's tables have that function for each of its
// steps, and turn the network's output into x_0 and into what the solver extrapolates: noise, x_0,
// or the drift dx/dt. The learned solvers, which are fitted on one curve, are taken to another by
// log-SNR; what differs in scale starts from noise of the scale of x there.
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
