//go:build !purego

package kernel

//go:generate go run -C _asm .

import "golang.org/x/sys/cpu"

func archImpls() []*Impl {
	return []*Impl{
		{Level: AVX2, floats: AVX2, bf16: AVX2, product: productAVX2, row: rowAVX2, narrow: narrowAVX2},
		{Level: AVX512, floats: AVX512, bf16: AVX512, product: productAVX512, row: rowAVX512, narrow: narrowAVX512},
		{Level: VNNI, floats: AVX512, bf16: AVX512, product: productAVX512, row: rowAVX512, narrow: narrowVNNI},
		{Level: AVX512BF16, floats: AVX512, bf16: AVX512BF16, product: productAVX512, row: rowAVX512, narrow: narrowBF16},
	}
}

// machineLevel returns the best level that the processor has and whose registers the operating
// system saves.
func machineLevel() Level {
	x := &cpu.X86
	switch {
	case !(x.HasAVX2 && x.HasFMA):
		return Generic
	case !(x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL):
		return AVX2
	case !x.HasAVX512VNNI:
		return AVX512
	case !x.HasAVX512BF16:
		return VNNI
	}
	return AVX512BF16
}
