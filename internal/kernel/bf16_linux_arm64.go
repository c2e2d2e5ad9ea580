//go:build !purego

package kernel

import "golang.org/x/sys/unix"

// hasBF16 reports whether the kernel announces FEAT_BF16, which package cpu does not tell.
func hasBF16() bool {
	const (
		atHWCAP2   = 26
		hwcap2BF16 = 1 << 14
	)
	vector, err := unix.Auxv()
	if err != nil {
		return false
	}
	for _, entry := range vector {
		if entry[0] == atHWCAP2 {
			return entry[1]&hwcap2BF16 != 0
		}
	}
	return false
}
