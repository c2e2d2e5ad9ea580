package listing

import (
	"strings"
	"testing"
)

// TestSamplersHaveHelp checks that something is said of every sampler.
func TestSamplersHaveHelp(t *testing.T) {
	for _, s := range Samplers() {
		if s.Help == "" {
			t.Errorf("sampler %s has no help", s.Name)
		}
	}
}

// TestMethodsFit checks that the text about methods stays within 100 columns and names them all.
func TestMethodsFit(t *testing.T) {
	var b strings.Builder
	WriteMethods(&b)
	for line := range strings.Lines(b.String()) {
		if len(strings.TrimRight(line, "\n")) > 100 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	for _, name := range []string{"none\n", "tokencache\n", "fora\n", "ratio=a number"} {
		if !strings.Contains(b.String(), name) {
			t.Errorf("no %q", name)
		}
	}
}
