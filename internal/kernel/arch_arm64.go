//go:build !purego

package kernel

//go:generate go run -C _asm .

import "golang.org/x/sys/cpu"

func archImpls() []*Impl {
	return []*Impl{
		{Level: NEON, floats: NEON, bf16: NEON, product: productNEON, row: rowNEON, narrow: narrowNEON},
		{Level: DotProd, floats: NEON, bf16: NEON, product: productNEON, row: rowNEON, narrow: narrowDotProd},
		{Level: NEONBF16, floats: NEON, bf16: NEONBF16, product: productNEON, row: rowNEON, narrow: narrowNEONBF16},
		{Level: I8MM, floats: NEON, bf16: NEONBF16, product: productNEON, row: rowNEON, narrow: narrowI8MM},
	}
}

// machineLevel returns the best level that the processor has.
func machineLevel() Level {
	switch {
	case !cpu.ARM64.HasASIMDDP:
		return NEON
	case !hasBF16():
		return DotProd
	case !cpu.ARM64.HasI8MM:
		return NEONBF16
	}
	return I8MM
}
