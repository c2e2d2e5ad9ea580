// Package dit holds diffusion transformers, written as in the papers' own code, and declares the
// seam at which a cache policy may reuse what they computed before.
//
// It knows how models compute and how their weights are named in the files that exist. It knows no
// cache policy, no sampler and no image format.
//
// DiT: "Scalable Diffusion Models with Transformers", arXiv 2212.09748. MDT: "Masked Diffusion
// Transformer is a Strong Image Synthesizer", arXiv 2303.14389.
package dit
