package kernel

// The levels of arm64. Each has a name in levelNames.
const (
	NEON     Level = Generic + 1 + iota // Advanced SIMD, which every processor has
	DotProd                             // NEON with FEAT_DotProd: products of int8
	NEONBF16                            // DotProd with FEAT_BF16: products of bfloat16
	I8MM                                // NEONBF16 with FEAT_I8MM: products of int8 matrices
)

var levelNames = [...]string{Generic: "generic", NEON: "neon", DotProd: "dotprod", NEONBF16: "bf16", I8MM: "i8mm"}
