// Package eval evaluates images: feature networks, the distances between the features of two sets,
// and the similarity of two images.
//
// The networks are Classifier, which package train trains, and Inception, whose features published
// results use. Evaluate runs the whole protocol. Of features there are the Fréchet distance (FID,
// and sFID of spatial features), precision and recall, and the inception score; of two images PSNR
// and SSIM. An Estimate has a bootstrap interval.
//
// It may run its own networks and read and write the files of the field's evaluators; it knows no
// sampler, no policy and no training.
package eval
