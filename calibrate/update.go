package calibrate

import (
	"fmt"

	"github.com/tokencache/tokencache/train"
)

// DescribeUpdate describes an update of training in one line of text, with the measures of the
// method that is trained.
func DescribeUpdate(s train.StepStats) string {
	text := fmt.Sprintf("update %d/%d", s.Step, s.Steps)
	for _, m := range []struct{ name, format string }{
		{"error", "error %.3f of the forecast's"},
		{"alpha", "mean importance %.3f"},
		{"cost", "sum of weights %.2f"},
	} {
		if v, ok := s.Measures[m.name]; ok {
			text += "  " + fmt.Sprintf(m.format, v)
		}
	}
	return text
}
