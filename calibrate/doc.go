// Package calibrate makes trained policies: each Method takes what it learns from images that the
// model samples itself, meets a speed if one is wanted, first by counted FLOPs and then by
// wall-clock measurement, and saves the policy in a folder.
//
// It may use the library and the trainer; it draws only the figures of a policy, and prints
// nothing.
package calibrate
