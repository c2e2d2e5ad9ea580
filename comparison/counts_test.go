package comparison

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCounts checks that counts are kept, and that those of another comparison or damaged ones are
// not used.
func TestCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), countsFile)
	c, err := openCounts(path, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.add("fora:n=2", 1.9); err != nil {
		t.Fatal(err)
	}
	if again, err := openCounts(path, "a"); err != nil || again.Fewer["fora:n=2"] != 1.9 {
		t.Errorf("kept %v (%v)", again.Fewer, err)
	}
	if other, err := openCounts(path, "b"); err != nil || len(other.Fewer) != 0 {
		t.Errorf("of other conditions: %v (%v)", other.Fewer, err)
	}
	for _, damaged := range []string{"{", "null", `{"of":"a"}`} {
		if err := os.WriteFile(path, []byte(damaged), 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := openCounts(path, "a")
		if err == nil {
			err = c.add("fora:n=3", 2.7)
		}
		if err != nil {
			t.Errorf("after %q: %v", damaged, err)
		}
	}
}
