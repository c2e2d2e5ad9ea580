// Package minit2i is MiniT2I (Wang et al., 2026), a text-to-image transformer in pixel space: a
// multimodal DiT whose text and image tokens have weights of their own and attend to one another.
// It predicts the clean image from noise and a text; the time does not enter the network.
//
// A sample's tokens are those of its text, then those of its image in reading order, and the seam
// sees them as one sequence (seam.Shape.Text). The text's way up to the first joint block depends
// on nothing else, so it is computed once for each prompt.
//
// It knows the network, its configuration and the names of its weights. Tokenizers and text
// encoders, times, noise and guidance do not belong here.
package minit2i
