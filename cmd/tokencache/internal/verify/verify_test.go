package verify

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
)

const testdata = "../../../../testdata"

func verifyPaths(t *testing.T, o Options, paths ...string) (*Report, error) {
	t.Helper()
	o.Threads = 2
	return Paths(context.Background(), paths, o)
}

func TestRecordedNumbersAreReproduced(t *testing.T) {
	for path, want := range map[string]int{
		// Two more files of weights, 3 blocks, out, 2 scales, 4 runs of 3; then x_t, 3 losses, 3
		// losses before updates, gradient, value and average of 41 parameters, and twice the
		// position embedding.
		"dit-tiny":      20 + 1 + 3 + 3 + 3*41 + 2,
		"mdtv1-tiny":    8,                       // 4 blocks, out, 3 scales, one of them of another power
		"cache-methods": 7*4 + 2 + 5 + 6*6 + 5*2, // x, pred_xstart, model_out, tokens_computed; toca and duca also their token sets; errors and 4 schedules; 6 batches and 5 updates of routers
		// Of each run x, compute and computed_blocks; two lists of ratios; of dpcache 7 plans; of
		// cem its tokens, priors and 22 plans; of l2p the products and their weights.
		"cache-methods-2026": 15*3 + 2 + 7 + 1 + 1 + 22 + 2,
		// 5 blocks of tokens, out, 5 velocities and short.out; then 2 batches of x_t and losses, 3 losses
		// before updates, 3 and 90 gradients, and 13 parameters and their averages.
		"minit2i-tiny":          12 + 4*2 + 4 + 3 + 3 + 90 + 2*13, // also 4 runs, each with its pixels
		"minit2i-pipeline-tiny": 6 * 3,                            // a prompt's vectors, its image, its pixels
		"t5-tiny":               16,                               // the other weights, 4 last hidden states, and of 3 blocks
		// Forward passes of three networks, 25 sampling runs, integrators, a likelihood; losses of four
		// pairs of path and prediction with their weights, and gradients.
		"sit-tiny":           106,
		"solvers":            216, // of flows, on the network of sit-tiny, and tables
		"dit-diffusers-tiny": 1,
		"vae-tiny":           4, // decoded, mean, logvar, the older file
	} {
		r, err := verifyPaths(t, Options{}, filepath.Join(testdata, path))
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if r.Passed != want || r.Failed != 0 {
			t.Errorf("%s: %d passed, %d failed, want %d passed", path, r.Passed, r.Failed, want)
			for _, c := range r.Checks {
				t.Logf("%+v", c)
			}
		}
	}
}

func TestOneFileOfAFolder(t *testing.T) {
	r, err := verifyPaths(t, Options{}, filepath.Join(testdata, "dit-tiny", "forward.safetensors"))
	if err != nil || r.Passed != 8 {
		t.Errorf("%d passed, want 8: %v", r.Passed, err)
	}
}

func TestFormulaWeights(t *testing.T) {
	if testing.Short() {
		t.Skip("a full-size model is slow under the race detector")
	}
	for _, name := range []string{"dit-s-2-256", "mdtv1-s-2-256", "mdtv2-s-2-256"} {
		r, err := verifyPaths(t, Options{}, filepath.Join(testdata, "synthetic", name+".safetensors"))
		if err != nil || r.Passed != 13 || r.Failed != 0 {
			t.Errorf("%s: %d passed, %d failed, want 13 passed: out and 12 blocks; %v", name, r.Passed, r.Failed, err)
		}
	}
}

// copyDir copies the files of a folder.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDifferencesAreFound changes one number of a recording by a thousandth of its tensor's size.
func TestDifferencesAreFound(t *testing.T) {
	dir := copyDir(t, filepath.Join(testdata, "dit-tiny"))
	path := filepath.Join(dir, "forward.safetensors")
	old, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	c := checkpoint.Content{Read: func(name string, dst []float32) error {
		if err := old.Read(name, dst); err != nil {
			return err
		}
		if name == "out" {
			dst[100] += 1e-2
		}
		return nil
	}}
	for _, name := range old.Names() {
		info, _ := old.Lookup(name)
		info.DType = checkpoint.F32
		c.Tensors = append(c.Tensors, info)
	}
	changed := filepath.Join(t.TempDir(), "forward.safetensors")
	if err := checkpoint.WriteSafetensors(changed, c); err != nil {
		t.Fatal(err)
	}
	old.Close()
	if err := copyFile(changed, path); err != nil {
		t.Fatal(err)
	}
	r, _ := verifyPaths(t, Options{}, path)
	found := false
	for _, c := range r.Checks {
		if c.Name == "forward/out" {
			found = !c.OK && c.Error > 1e-3 && c.Error < 1
		}
	}
	if !found {
		t.Errorf("a changed number was not found: %+v", r.Checks)
	}
	if r, err := verifyPaths(t, Options{Tolerance: 1}, path); err != nil || r.Failed > 0 {
		t.Errorf("with a tolerance of 1: %+v, %v", r, err)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, in)
	return err
}

func TestDamagedRecordings(t *testing.T) {
	dir := copyDir(t, filepath.Join(testdata, "dit-tiny"))
	if err := os.Truncate(filepath.Join(dir, "sampling.safetensors"), 1000); err != nil {
		t.Fatal(err)
	}
	r, err := verifyPaths(t, Options{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.Checks, func(c Check) bool { return !c.OK })
	if r.Failed != 1 || r.Checks[i].Name != "sampling" || !strings.Contains(r.Checks[i].Reason, "sampling.safetensors") {
		t.Errorf("%d failed, the first %+v", r.Failed, r.Checks[i])
	}
}

func TestNothingToCheck(t *testing.T) {
	lone := t.TempDir()
	if err := copyFile(filepath.Join(testdata, "dit-tiny", "forward.safetensors"), filepath.Join(lone, "forward.safetensors")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		t.TempDir(): "has no recorded tensors",
		"nowhere":   "nowhere: no such file",
		lone:        "no weights",
	} {
		if _, err := verifyPaths(t, Options{}, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
