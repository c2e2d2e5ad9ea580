// Package redundancy sees what there is to reuse between a sampler's steps, and what a policy
// reuses: how much each token's update changes, how alike the tokens of different steps are, how
// important a policy takes each token to be, and which tokens it computes.
//
// It looks through the seam for policies alone, so that every model and every policy can be looked
// at. It measures and lays out; drawing is report's.
package redundancy
