//go:build !purego

package kernel

//go:generate go run -C _asm .

import "golang.org/x/sys/cpu"

func archImpls() []*Impl {
	return []*Impl{
		{Level: AVX2, product: productAVX2, row: rowAVX2},
		{Level: AVX512, product: productAVX512, row: rowAVX512},
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
	}
	return AVX512
}
