// Package eval judges pictures: networks that see features in them, and the distances between what they see in two sets.
//
// It may run networks of its own and read what evaluators of the field wrote; it knows no sampler, no policy and no training.
package eval
