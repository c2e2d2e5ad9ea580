package checkpoint

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	// weightName matches the last part of the names of what is weights, quantised or not.
	weightName = regexp.MustCompile(`(^|[._])(q?weight|weight_(packed|q|int8|quantized)|bias)$`)
	// quantiser matches the last part of the names of what quantisers keep next to weights: scales,
	// zero points, tables.
	quantiser = regexp.MustCompile(`(^|[._])(absmax|nested_absmax|quant_map|nested_quant_map|quant_state\..+|SCB|` +
		`qzeros|g_idx|scaled_fp8|(scale_(weight|input)|(weight|input)_scale)(_inv|_2)?|weight_(zero_point|shape))$`)
)

// Quantised reports weights of elements that are no floating-point numbers, or that are to be
// scaled by others in the file, which cannot be run; or nil.
func Quantised(f Lister) error {
	types := map[DType]int{}
	var first string
	var order []string
	parts := ""
	for _, name := range f.Names() {
		info, _ := f.Lookup(name)
		switch {
		case info.DType == "": // what lists the tensors does not know
		case quantiser.MatchString(name):
			if parts == "" {
				parts = name
			}
		case weightName.MatchString(name) && !info.DType.Float() && !strings.HasPrefix(string(info.DType), "C"):
			if types[info.DType]++; types[info.DType] == 1 {
				order = append(order, string(info.DType))
			}
			if first == "" {
				first = name
			}
		}
	}
	const advice = "take the checkpoint in F32, F16, BF16 or F8 that it was made of"
	switch {
	case first != "":
		total := 0
		for _, n := range types {
			total += n
		}
		return fmt.Errorf("quantised weights cannot be run: %d tensors are of type %s, such as %s; %s",
			total, strings.Join(order[:min(len(order), 3)], ", "), first, advice)
	case parts != "":
		return fmt.Errorf("quantised weights cannot be run: %s is what a quantiser keeps next to weights; %s", parts, advice)
	}
	return nil
}
