package output

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
)

// TestAnyOrder checks that every sink writes the same files whatever order the images come in.
func TestAnyOrder(t *testing.T) {
	const images = 6
	for _, name := range []string{"folder", "sheet.png", "samples.npz"} {
		t.Run(name, func(t *testing.T) {
			write := func(order ...int) map[string]string {
				dir := t.TempDir()
				s := openSink(t, filepath.Join(dir, name), testRun(images), false)
				for _, i := range order {
					add(t, s, i, 3)
				}
				finish(t, s)
				s.Close()
				return contents(t, dir)
			}
			want := write(0, 1, 2, 3, 4, 5)
			for _, order := range [][]int{{5, 4, 3, 2, 1, 0}, {1, 0, 3, 2, 5, 4}, {2, 0, 1, 5, 3, 4}} {
				got := write(order...)
				if len(got) != len(want) {
					t.Errorf("order %v: %d files, want %d", order, len(got), len(want))
				}
				for file, text := range want {
					if got[file] != text {
						t.Errorf("order %v: %s differs", order, file)
					}
				}
			}
		})
	}
}

// contents returns the files below dir.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files[strings.TrimPrefix(path, dir)] = read(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestHaveIsOfTheOpening checks that images added now are not those that were there: a request
// skips what Have reports, and would lose count if that changed while it runs.
func TestHaveIsOfTheOpening(t *testing.T) {
	for _, name := range []string{"folder", "sheet.png", "samples.npz"} {
		t.Run(name, func(t *testing.T) {
			s := openSink(t, filepath.Join(t.TempDir(), name), testRun(2), false)
			add(t, s, 0, 3)
			if s.Have(0) || s.Have(1) {
				t.Error("images that were added count as there before")
			}
		})
	}
}

// TestNPZGap checks that an npz file with a gap is refused, and that a resumed run fills the gap.
func TestNPZGap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.npz")
	s := openSink(t, path, testRun(3), false)
	add(t, s, 0, 3)
	add(t, s, 2, 3)
	if _, err := s.Finish(); err == nil || !strings.Contains(err.Error(), "image 1 was never finished") {
		t.Errorf("error %v, want one about image 1", err)
	}
	s.Close()
	s = openSink(t, path, testRun(3), true)
	if !s.Have(0) || s.Have(1) || !s.Have(2) {
		t.Errorf("have %v, %v, %v, want the first and the last", s.Have(0), s.Have(1), s.Have(2))
	}
}

func TestLatents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latents.safetensors")
	l := NewLatents(3, 1, 2)
	for _, i := range []int{2, 0} {
		if err := l.Add(i, []float32{float32(i), 1, 2, 3}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Write(path); err == nil || !strings.Contains(err.Error(), "image 1 was never finished") {
		t.Errorf("error %v, want one about image 1", err)
	}
	if err := l.Add(1, []float32{1}); err == nil {
		t.Error("latents of one value: no error")
	}
	if err := l.Add(1, []float32{1, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(path); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := f.Float32("latents")
	if want := []float32{0, 1, 2, 3, 1, 1, 2, 3, 2, 1, 2, 3}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}
