package jobs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInputs sends a folder and a file to a store and fetches them where they are not: whole,
// checked, once, and in the bytes that the cache may have.
func TestInputs(t *testing.T) {
	ctx, q, store := t.Context(), &Queue{}, t.TempDir()
	here := t.TempDir()
	model, vae := filepath.Join(here, "model"), filepath.Join(here, "vae.bin")
	write := func(path, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(model, "config.json"), "{}")
	write(filepath.Join(model, "transformer", "weights.bin"), strings.Repeat("w", 1000))
	write(vae, strings.Repeat("v", 500))
	var inputs []Input
	for range 2 { // the second time all is there
		var err error
		if inputs, err = q.Send(ctx, store, []string{model, vae}); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := os.ReadDir(store); err != nil || len(files) != 3 {
		t.Fatalf("files in the store: %v, error %v, want 3", files, err)
	}
	cache := &Cache{Dir: filepath.Join(t.TempDir(), "cache"), Size: 1600}
	j := &Job{Store: store, Inputs: inputs}
	if local, err := cache.Get(ctx, q, j); err != nil || len(local) != 0 {
		t.Errorf("inputs that are here: %v, error %v", local, err)
	}
	if err := errors.Join(os.RemoveAll(model), os.Remove(vae)); err != nil {
		t.Fatal(err)
	}
	local, err := cache.Get(ctx, q, j)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		filepath.Join(local[model], "config.json"):                2,
		filepath.Join(local[model], "transformer", "weights.bin"): 1000,
		local[vae]: 500,
	} {
		if b, err := os.ReadFile(path); err != nil || len(b) != want {
			t.Errorf("%s: %d bytes, error %v, want %d", path, len(b), err, want)
		}
	}
	if filepath.Base(local[vae]) != "vae.bin" {
		t.Errorf("the file is called %s", local[vae])
	}

	// Without the store the cache has all; what is larger than it may be is refused; the oldest goes.
	empty := &Job{Store: t.TempDir(), Inputs: inputs}
	if _, err := cache.Get(ctx, q, empty); err != nil {
		t.Error(err)
	}
	small := &Cache{Dir: t.TempDir(), Size: 1000}
	if _, err := small.Get(ctx, q, j); err == nil || !strings.Contains(err.Error(), "the cache may have 1000") {
		t.Errorf("a cache that is too small: error %v", err)
	}
	if err := cache.shrink(600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(local[model]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the larger input is still there: %v", err)
	}

	// What was damaged in the store is not taken.
	write(filepath.Join(store, inputs[0].Files[1].stored()), "rot")
	if _, err := cache.Get(ctx, q, j); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged input: error %v", err)
	}
}

// TestForeignInputs checks that inputs of a foreign queue stay in their folder.
func TestForeignInputs(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for _, c := range []struct {
		name  string
		files []InputFile
		ok    bool
	}{
		{"file", []InputFile{{"", sum, 1}}, true},
		{"folder", []InputFile{{"a/b", sum, 1}, {"c", sum, 1}}, true},
		{"none", nil, false},
		{"parent", []InputFile{{"../b", sum, 1}}, false},
		{"absolute", []InputFile{{"/etc/passwd", sum, 1}}, false},
		{"hash", []InputFile{{"", "../../x", 1}}, false},
		{"two without names", []InputFile{{"", sum, 1}, {"", sum, 1}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := (&Input{Path: "p", Files: c.files}).check(); (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}
