package kernel

// The levels of x86-64. Each has a name in levelNames.
const (
	AVX2       Level = Generic + 1 + iota // AVX2 and FMA
	AVX512                                // AVX-512 F, DQ, BW and VL
	VNNI                                  // AVX512 with VNNI: products of int8
	AVX512BF16                            // VNNI with AVX512-BF16: products of bfloat16
)

var levelNames = [...]string{Generic: "generic", AVX2: "avx2", AVX512: "avx512", VNNI: "vnni", AVX512BF16: "bf16"}
