package comparison

import (
	"strings"
	"testing"
)

// TestFileName checks that long texts have different names, which every system takes.
func TestFileName(t *testing.T) {
	a, b := FileName(strings.Repeat("i=0+", 100)+"1"), FileName(strings.Repeat("i=0+", 100)+"2")
	if len(a) > 255 || a == b {
		t.Errorf("names of %d bytes: %s, %s", len(a), a, b)
	}
	if got := FileName("FORA fora:n=2"); got != "FORA_fora_n=2" {
		t.Errorf("name %s", got)
	}
}
