//go:build arm64 && !linux && !darwin && !purego

package kernel

// hasBF16 reports whether the processor is known to have FEAT_BF16: no system's way to ask is known
// here.
func hasBF16() bool { return false }
