package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNetworkNextToSolvers checks that the network of recorded flows is found next to the folder of
// the recordings, under the suffix of that folder, and that without it they are skipped.
func TestNetworkNextToSolvers(t *testing.T) {
	dir := t.TempDir()
	link := func(from, to string) {
		t.Helper()
		full, err := filepath.Abs(filepath.Join(testdata, from))
		if err == nil {
			err = os.CopyFS(filepath.Join(dir, to), os.DirFS(full))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	link("solvers", "solvers-copy")
	link("sit-tiny", "sit-tiny")
	r, err := verifyPaths(t, Options{}, filepath.Join(dir, "solvers-copy"))
	if err != nil || r.Failed != 0 || len(r.Skipped) == 0 || !strings.Contains(r.Skipped[0].Reason, "sit-tiny-copy") {
		t.Errorf("without a network: %d failed, skipped %v: %v", r.Failed, r.Skipped, err)
	}
	link("sit-tiny", "sit-tiny-copy")
	r, err = verifyPaths(t, Options{}, filepath.Join(dir, "solvers-copy", "flow.safetensors"))
	if err != nil || r.Failed != 0 || r.Passed == 0 || len(r.Skipped) != 0 {
		t.Errorf("with it: %d passed, %d failed, skipped %v: %v", r.Passed, r.Failed, r.Skipped, err)
	}
}

// TestFlowRunNames checks that names of recordings that mean nothing are errors.
func TestFlowRunNames(t *testing.T) {
	for name, want := range map[string]string{
		"ode.Linear":                              "want a path",
		"ode.Linear.velocity.euler.steps_x":       "invalid syntax",
		"ode.Linear.velocity.euler.speed_3":       "unknown option speed_3",
		"sde.GVP.noise.Heun.sigma.norm_a.steps_6": "invalid syntax",
	} {
		if _, err := parseFlowRun(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
