// Package redundancy measures what there is to reuse between a sampler's steps, and what a policy
// reuses: how much each token's update changes, how alike the tokens of different steps are, how
// important a policy takes each token to be, and which tokens it computes.
//
// It observes policies through the seam alone, so that it works with every model and every policy.
// It measures and lays out; rendering is report's.
package redundancy
