package verify

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
)

// FuzzFolder verifies a folder of a small model whose recorded tensors are any file.
func FuzzFolder(f *testing.F) {
	names := []string{"forward.safetensors", "sampling.safetensors", "training.safetensors", "cases.safetensors", "runs.safetensors"}
	for i, name := range names {
		if b, err := os.ReadFile(filepath.Join(testdata, "dit-tiny", name)); err == nil && len(b) < 1<<20 {
			f.Add(uint8(i), b)
		}
	}
	f.Add(uint8(4), []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Add(uint8(5), []byte(`{"arch":"AutoencoderKL"}`))
	model, err := os.ReadFile(filepath.Join(testdata, "dit-tiny", "model.safetensors"))
	if err != nil {
		f.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(testdata, "dit-tiny", "config.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, which uint8, file []byte) {
		dir := t.TempDir()
		files := map[string][]byte{"model.safetensors": model, "config.json": config}
		all := append(names, "config.json")
		files[all[int(which)%len(all)]] = file
		for name, b := range files {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		bounded.Run(t, len(model)+len(file), func() {
			_, _ = Paths(t.Context(), []string{dir}, Options{Threads: 1})
		})
	})
}
