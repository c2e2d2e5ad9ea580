// Package vae holds autoencoders: what turns the latents that a diffusion model works on into pictures, and back.
//
// It knows how they compute and how their weights are named in the files that exist. It knows no sampler and no image format:
// pictures are numbers in [-1,1], channel after channel.
//
// Two families: AutoencoderKL, as in Stable Diffusion ("High-Resolution Image Synthesis with Latent Diffusion Models", arXiv 2112.10752),
// and the tiny autoencoders of github.com/madebyollin/taesd, which approximate one at a hundredth of its cost.
package vae
