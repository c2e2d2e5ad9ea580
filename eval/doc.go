// Package eval judges pictures: networks that see features in them, the distances between what they see in two sets, and how two pictures differ.
//
// The networks are Classifier, which this program trains, and Inception, whose features published results are of. Of features there are the Frechet distance (FID, and sFID of
// spatial features), precision and recall, and the inception score; of two pictures PSNR and SSIM; and Bootstrap gives intervals.
//
// It may run networks of its own and read and write what evaluators of the field do; it knows no sampler, no policy and no training.
package eval
