package output

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

const models = "../../../../testdata"

// TestWriterResumes checks that a run is resumed by the contents of what it uses: under the same
// names another noise or autoencoder is refused, and another name for the same noise is not.
func TestWriterResumes(t *testing.T) {
	open := func(autoencoder string) *tokencache.Pipeline {
		p, err := tokencache.Open(filepath.Join(models, "dit-tiny"), tokencache.Options{VAE: autoencoder, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	autoencoder := filepath.Join(t.TempDir(), "vae")
	if err := os.CopyFS(autoencoder, os.DirFS(filepath.Join(models, "vae-tiny"))); err != nil {
		t.Fatal(err)
	}
	p := open(autoencoder)
	noise := make([]float32, 2*4*8*8)
	req := tokencache.Request{
		Classes:  []int{3, 7},
		Seed:     1,
		Sampling: tokencache.Sampling{Steps: 1}.WithDefaults(),
		Policy:   reuse.None{},
		Noise:    noise,
	}
	o := Options{Path: filepath.Join(t.TempDir(), "v1.0"), Noise: "x.safetensors"}
	w, err := NewWriter(p, req, o)
	if err != nil {
		t.Fatal(err)
	}
	whole := req
	whole.OnImage = w.Add
	if _, err := p.Generate(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	o.Resume = true

	other := req
	other.Noise = append([]float32{1}, noise[1:]...)
	if _, err := NewWriter(p, other, o); err == nil || !strings.Contains(err.Error(), otherContent) {
		t.Errorf("another noise of the same name: error %v, want one about its content", err)
	}
	rescale(t, autoencoder)
	if _, err := NewWriter(open(autoencoder), req, o); err == nil || !strings.Contains(err.Error(), otherContent) {
		t.Errorf("another autoencoder of the same name: error %v, want one about its content", err)
	}
	o.Noise = "moved.safetensors"
	if w, err = NewWriter(p, req, o); err != nil || w.Resumed != 2 {
		t.Errorf("the same noise of another name: %+v, error %v; want 2 images resumed", w, err)
	} else if w.Close(); !w.Complete {
		t.Error("a whole run is not complete")
	}
	o.Latents = filepath.Join(t.TempDir(), "latents.safetensors")
	if _, err := NewWriter(p, req, o); !errors.Is(err, ErrLatentsGone) {
		t.Errorf("latents of a resumed run: error %v, want ErrLatentsGone", err)
	}
}

// rescale changes the scale of an autoencoder's latents.
func rescale(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(b), `"scaling_factor": 0`, `"scaling_factor": 1`, 1)
	if changed == string(b) {
		t.Fatalf("%s: no scaling_factor below 1", path)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
}
