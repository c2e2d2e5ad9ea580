package data

import "slices"

// FlipHorizontal mirrors an image [channels, size, size] left to right, in place.
func FlipHorizontal(dst []float32, channels, size int) {
	for y := range channels * size {
		slices.Reverse(dst[y*size:][:size])
	}
}
