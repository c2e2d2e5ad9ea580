package output

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestApart checks that outputs are told from one another and from inputs, whatever their paths.
func TestApart(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("model", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("folder", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("model", "link"); err != nil {
		t.Skipf("this system makes no symbolic links: %v", err)
	}
	for _, c := range []struct {
		name            string
		outputs, inputs []string
		want            string
	}{
		{"nothing", []string{"", ""}, []string{"", ""}, ""},
		{"different files", []string{"a", "b"}, []string{"model"}, ""},
		{"two outputs", []string{"a", "./a"}, nil, "./a: is named as two outputs"},
		{"two outputs by an absolute path", []string{"a", absolute(t, "a")}, nil, "is named as two outputs"},
		{"an input", []string{"", "model"}, []string{"x", "model"}, "model: is an input"},
		{"an input behind a link", []string{"link"}, []string{"model"}, "link: is an input"},
		{"a folder", []string{"folder"}, []string{"folder"}, ""},
		{"standard output", []string{Stdout, Stdout}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Apart(c.outputs, c.inputs...)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	for path, want := range map[string]bool{
		"folder/000000.png":              true,
		"./folder/sheet.png":             true,
		"folder/latents.safetensors":     false,
		"folder/deeper/000000.png":       false,
		"other/000000.png":               false,
		absolute(t, "folder/000001.png"): true,
	} {
		if got := holds("folder", path); got != want {
			t.Errorf("folder has %s: %t, want %t", path, got, want)
		}
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
