package data

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/internal/npz"
)

// npzFile writes an archive, stored as np.savez does, and returns its path.
func npzFile(t *testing.T, put ...func(*npz.Writer) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "samples.npz")
	err := npz.Write(path, func(w *npz.Writer) error {
		for _, p := range put {
			if err := p(w); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// array is an array of an archive.
func array[T npz.Element](name string, values []T, shape ...int) func(*npz.Writer) error {
	return func(w *npz.Writer) error { return npz.Put(w, name, values, shape...) }
}

// deflated makes an archive's entries deflated, as np.savez_compressed does.
func deflated(t *testing.T, path string) string {
	t.Helper()
	in, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	packed := path + ".deflated.npz"
	f, err := os.Create(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := zip.NewWriter(f)
	for _, e := range in.File {
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		w, err := out.Create(e.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return packed
}

// writeNPZ writes n images of 2x2 RGB pixels with labels 0, 2, 4, ... below 6 and returns the
// file's path.
func writeNPZ(t *testing.T, n int) string {
	t.Helper()
	labels := make([]int64, n)
	for i := range labels {
		labels[i] = int64(2*i) % 6
	}
	return npzFile(t, array("arr_0", gradient(12*n, 3), n, 2, 2, 3), array("arr_1", labels, n))
}

func TestNPZ(t *testing.T) {
	path := writeNPZ(t, 4)
	inFile, err := openNPZ(path, 1<<20, Options{}, 47)
	if err != nil {
		t.Fatal(err)
	}
	defer inFile.Close()
	inFile.ctx = t.Context()
	if _, lazy := inFile.images.(*npzImages); !lazy {
		t.Errorf("48 bytes of images, of which 47 may be kept: %T", inFile.images)
	}
	for name, s := range map[string]*Set{
		"in memory": mustOpen(t, path, Options{}), "in the file": inFile, "deflated": mustOpen(t, deflated(t, path), Options{Split: "all"}),
	} {
		equal(t, name+": images", pixels(t, s), rows(gradient(48, 3), 12))
		equal(t, name+": labels", s.Labels, []int32{0, 2, 4, 0})
		equal(t, name+": classes", s.Classes, []string{"0", "1", "2", "3", "4"})
		equal(t, name+": counts", s.Counts(), []int{2, 0, 1, 0, 1})
		equal(t, name+": kind, size, channels", []any{s.Kind, s.Size, s.Channels}, []any{"npz", 2, 3})
	}
	always, err := openNPZ(deflated(t, path), 1<<20, Options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, inMemory := always.images.(*memory); !inMemory {
		t.Errorf("deflated images: %T", always.images)
	}
	wantError(t, path, Options{Split: "train"}, `no splits, so there is no "train"`)
}

func TestNPZWithoutLabels(t *testing.T) {
	for _, shape := range [][]int{{3, 2, 2}, {3, 2, 2, 1}} {
		s := mustOpen(t, npzFile(t, array("arr_0", gradient(12, 1), shape...)), Options{})
		equal(t, "images", pixels(t, s), rows(gradient(12, 1), 4))
		equal(t, "labels", s.Labels, []int32{-1, -1, -1})
		equal(t, "counts", s.Counts(), []int{})
		if s.Classes != nil || s.Channels != 1 {
			t.Errorf("classes %v, %d channels", s.Classes, s.Channels)
		}
	}
}

func TestNPZMistakes(t *testing.T) {
	images := array("arr_0", gradient(12, 1), 3, 2, 2)
	for name, c := range map[string]struct {
		path string
		want []string
	}{
		"other names":     {npzFile(t, array("images", gradient(12, 1), 3, 2, 2)), []string{`no array "arr_0"`, "images"}},
		"floats":          {npzFile(t, array("arr_0", make([]float32, 12), 3, 2, 2)), []string{"[3 2 2] of <f4", "of |u1"}},
		"flat":            {npzFile(t, array("arr_0", gradient(12, 1), 12)), []string{"[12] of |u1"}},
		"four channels":   {npzFile(t, array("arr_0", gradient(16, 1), 1, 2, 2, 4)), []string{"[1 2 2 4]"}},
		"none":            {npzFile(t, array("arr_0", []uint8{}, 0, 2, 2, 3)), []string{"[0 2 2 3]"}},
		"wide":            {npzFile(t, array("arr_0", make([]uint8, maxSize+1), 1, 1, maxSize+1)), []string{"no side above 16384"}},
		"not square":      {npzFile(t, array("arr_0", gradient(12, 1), 1, 3, 4)), []string{"3x4", "square"}},
		"too few labels":  {npzFile(t, images, array("arr_1", []int64{1, 2}, 2)), []string{"shape [2] for 3 images"}},
		"table of labels": {npzFile(t, images, array("arr_1", []int64{1, 2, 3}, 3, 1)), []string{"shape [3 1] for 3 images"}},
		"float labels":    {npzFile(t, images, array("arr_1", []float32{1, 2, 3}, 3)), []string{"<f4 cannot be read as int64"}},
		"label below 0":   {npzFile(t, images, array("arr_1", []int64{1, -1, 3}, 3)), []string{"label -1 of image 1"}},
		"label too large": {npzFile(t, images, array("arr_1", []int64{1, 2, 1 << 40}, 3)), []string{"label 1099511627776 of image 2"}},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, c.path, Options{}, c.want...) })
	}
	whole, err := os.ReadFile(npzFile(t, images))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	wantError(t, write(t, dir, "cut.npz", whole[:len(whole)/2]), Options{}, "cut.npz")
	whole[bytes.Index(whole, gradient(12, 1))]++
	wantError(t, write(t, dir, "corrupt.npz", whole), Options{}, "checksum")
}

// TestInflated checks that a compressed archive may not become far larger in memory than it is.
func TestInflated(t *testing.T) {
	const n = 70 << 10
	zeros := deflated(t, npzFile(t, array("arr_0", make([]uint8, n<<10), n, 32, 32)))
	wantError(t, zeros, Options{}, `array "arr_0": 73400320 bytes compressed to`, "unpacked it can be read")
	for _, c := range []struct {
		n, size int64
		ok      bool
	}{
		{64 << 20, 0, true}, {64<<20 + 1, 0, false}, {64<<20 + 160, 10, true}, {64<<20 + 161, 10, false},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.n, c.size), func(t *testing.T) {
			if err := checkInflated(c.n, c.size); (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestNPZPrompts checks that prompts are read, and stay with their images when broken ones are left
// out.
func TestNPZPrompts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	s := npz.Samples{Count: 3, Height: 2, Width: 2, Channels: 1, Prompts: []string{"a", "", "c"},
		Image: func(i int) ([]byte, error) { return make([]byte, 4), nil }}
	if err := s.Write(path); err != nil {
		t.Fatal(err)
	}
	set := mustOpen(t, path, Options{Skip: true})
	equal(t, "prompts", set.Prompts, s.Prompts)
	set.leftOut = map[int]*BrokenError{1: {File: "x", Err: errors.New("broken"), Skipped: true}}
	if err := set.DropBroken(); err != nil {
		t.Fatal(err)
	}
	equal(t, "prompts that are left", set.Prompts, []string{"a", "c"})

	err := npz.Write(path, func(w *npz.Writer) error {
		return errors.Join(npz.Put(w, "arr_0", make([]uint8, 4), 1, 2, 2), npz.PutText(w, npz.PromptsArray, []string{"a", "b"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, path, Options{}, "2 prompts for 1 images")
}
