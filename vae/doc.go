// Package vae holds autoencoders, which convert between images and the latents of a diffusion
// model.
//
// It knows how they compute and how published files name their weights. It knows no sampler and no
// image format: images are numbers in [-1,1], channel after channel.
//
// There are two families: AutoencoderKL, as in Stable Diffusion ("High-Resolution Image Synthesis
// with Latent Diffusion Models", arXiv 2112.10752), and the tiny autoencoders of
// github.com/madebyollin/taesd, which approximate one at a hundredth of its cost.
package vae
