//go:build !purego

package kernel

import "golang.org/x/sys/unix"

// hasBF16 reports whether the kernel announces FEAT_BF16, which package cpu does not tell.
func hasBF16() bool {
	v, err := unix.SysctlUint32("hw.optional.arm.FEAT_BF16")
	return err == nil && v == 1
}
