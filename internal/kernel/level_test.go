package kernel

import (
	"os"
	"testing"
)

// TestActiveIsTheBestAllowed checks that the implementation in use is the best that the machine
// and the environment variable allow, and logs its level.
func TestActiveIsTheBestAllowed(t *testing.T) {
	highest, err := ParseLevel(os.Getenv(EnvLevel))
	if err != nil {
		highest = machineLevel()
	}
	for _, im := range Impls() {
		if im.Supported() && im.Level <= highest && im.Level > Active().Level {
			t.Errorf("%v is in use in place of %v", Active(), im)
		}
	}
	if Active().Level > highest {
		t.Errorf("%v is in use, the limit is %v", Active(), highest)
	}
	t.Logf("CPU level %v", Active())
}

func TestParseLevel(t *testing.T) {
	for _, im := range Impls() {
		if l, err := ParseLevel(im.String()); err != nil || l != im.Level {
			t.Errorf("%v: %v, %v", im, l, err)
		}
	}
	for _, name := range []string{"", "mmx"} {
		if l, err := ParseLevel(name); err == nil {
			t.Errorf("%q is level %v", name, l)
		}
	}
}
