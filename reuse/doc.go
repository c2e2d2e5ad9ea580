// Package reuse holds cache policies: what of a denoising step is computed, and what is taken from the steps before. There is one file for each
// method, TokenCache first among them ("Token Caching for Diffusion Transformer Acceleration", arXiv 2409.18523).
//
// A Policy is a method with its parameters, immutable; a Run is its state for one batch of samples, and stands in the seam that package dit
// declares. Decisions are per sample, never averaged over a batch, and samples of one batch may stand at different steps. The package may know
// models and their activations; it knows no sampler beyond the list of its steps, and no files but those of policies.
//
// Positions of steps count up: position 0 is the first step taken, at the noisiest timestep.
package reuse
