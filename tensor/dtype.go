package tensor

import "github.com/tokencache/tokencache/internal/kernel"

// DType is the number format that a linear map multiplies in. Activations between operations are
// float32 in any case.
type DType = kernel.DType

const (
	// F32 is float32, in which everything is exact but for rounding.
	F32 = kernel.F32
	// BF16 rounds weights and activations to bfloat16 and adds products in float32.
	BF16 = kernel.BF16
	// INT8 makes integers of 8 bits of weights, with a scale for each output, and of activations, with
	// a scale and a zero point for each row.
	INT8 = kernel.INT8
)

// ParseDType returns the format of a name: f32, bf16 or int8.
func ParseDType(name string) (DType, error) { return kernel.ParseDType(name) }

// AttentionIn returns the number format of attention next to linear maps of one, on this processor:
// F32 or BF16.
func AttentionIn(d DType) DType { return kernel.AttentionIn(d) }
