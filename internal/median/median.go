// Package median computes the median of measurements.
package median

import "slices"

// Of returns the median, for an even count the mean of the two in the middle. There must be at
// least one value; values is not changed.
func Of(values []float64) float64 {
	x := slices.Sorted(slices.Values(values))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
