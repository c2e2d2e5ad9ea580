package bench

import (
	"strings"
	"testing"
)

// TestDisturbed checks that a rate above the peak is marked in the row and said below the table.
func TestDisturbed(t *testing.T) {
	var b strings.Builder
	KernelRow{Op: "linear", PercentOfPeak: 519}.Write(&b)
	KernelRow{Op: "linear", PercentOfPeak: 90}.Write(&b)
	if err := WriteDisturbed(&b, disturbed(0, 519, []float64{1, 1.01})); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if !strings.HasSuffix(lines[0], "519.0% !") || !strings.HasSuffix(lines[1], " 90.0%") ||
		!strings.Contains(lines[2], "a rate of 519 % of the peak; measure again on a quiet machine") {
		t.Errorf("%q", lines)
	}
	if signs := disturbed(0, 100, []float64{1, 1.01}); len(signs) != 0 {
		t.Errorf("a quiet machine: %q", signs)
	}
}
