//go:build !unix

package kernel

import "testing"

// fencedMemory returns n floats, unfenced: this system has no way to protect the memory behind
// them.
func fencedMemory(t *testing.T, n int) []float32 { return make([]float32, n) }
