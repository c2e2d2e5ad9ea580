package npz

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestSamplesAsNumPy writes again what NumPy wrote: the .npy files inside must be the same, byte
// for byte.
func TestSamplesAsNumPy(t *testing.T) {
	for _, name := range []string{"dit_samples_4x16x16x3.npz", "adm_samples_labels.npz"} {
		want := entries(t, filepath.Join("testdata", name))
		a, err := Open(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		images, err := a.Array("arr_0")
		if err != nil {
			t.Fatal(err)
		}
		rows, err := images.Rows()
		if err != nil {
			t.Fatal(err)
		}
		s := Samples{Count: 4, Height: 16, Width: 16, Channels: 3, Image: func(int) ([]byte, error) {
			image := make([]byte, 16*16*3)
			_, err := Next(rows, image)
			return image, err
		}}
		if labels, err := a.Array("arr_1"); err == nil {
			if s.Labels, err = Read[int64](labels); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(t.TempDir(), name)
		if err := s.Write(path); err != nil {
			t.Fatal(err)
		}
		got := entries(t, path)
		if len(got) != len(want) {
			t.Errorf("%s: %d entries, want %d", name, len(got), len(want))
		}
		for entry := range want {
			if !bytes.Equal(got[entry], want[entry]) {
				t.Errorf("%s: %s differs from NumPy's", name, entry)
			}
		}
	}
}

// entries are the files inside a zip archive, which must all be stored.
func entries(t *testing.T, path string) map[string][]byte {
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string][]byte{}
	for _, f := range z.File {
		if f.Method != zip.Store {
			t.Errorf("%s: %s is packed", path, f.Name)
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestRoundTrip(t *testing.T) {
	t.Run("uint8", roundTrip[uint8])
	t.Run("int64", roundTrip[int64])
	t.Run("float32", roundTrip[float32])
	t.Run("float64", roundTrip[float64])
}

func roundTrip[T Element](t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 4).Draw(t, "shape")
		n := 1
		for _, s := range shape {
			n *= s
		}
		values := make([]T, n)
		for i := range values {
			values[i] = T(rapid.Uint8().Draw(t, "value"))
		}
		if err := Write(path, func(w *Writer) error { return Put(w, "x", values, shape...) }); err != nil {
			t.Fatal(err)
		}
		a, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		array, err := a.Array("x")
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read[T](array)
		if err != nil || !slices.Equal(got, values) || !slices.Equal(array.Shape, shape) {
			t.Fatalf("shape %v, values %v, error %v; want %v, %v", array.Shape, got, err, shape, values)
		}
		if array.header.size%alignment != 0 {
			t.Fatalf("elements begin at %d", array.header.size)
		}
	})
}

func TestWrongUse(t *testing.T) {
	stop := errors.New("stop")
	for fails, write := range map[string]func(*Writer) error{
		"1 elements are missing": func(w *Writer) error { _, err := Stream[uint8](w, "a", 1); return err },
		"2 elements more than":   func(w *Writer) error { return Put(w, "a", []uint8{1, 2, 3}, 1) },
		"written twice": func(w *Writer) error {
			return errors.Join(Put(w, "a", []uint8{}, 0), Put(w, "a", []uint8{}, 0))
		},
		"has a negative size":   func(w *Writer) error { return Put(w, "a", []uint8{}, -1) },
		"too large":             func(w *Writer) error { return Put(w, "a", []int64{}, math.MaxInt/2, math.MaxInt/2) },
		"65 dimensions are too": func(w *Writer) error { return Put(w, "a", []int64{}, make([]int, 65)...) },
		"stop":                  func(w *Writer) error { return stop },
		"\"a\": 3 elements are m": func(w *Writer) error {
			return errors.Join(Put(w, "a", []uint8{}, 3), Put(w, "b", []uint8{}, 0))
		},
	} {
		t.Run(fails, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a.npz")
			if err := Write(path, write); err == nil || !strings.Contains(err.Error(), fails) ||
				!strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q and the path", err, fails)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%q left a file behind", fails)
			}
		})
	}
}

func TestWrongSamples(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	small := func(int) ([]byte, error) { return make([]byte, 3), nil }
	for _, test := range []struct {
		s     Samples
		fails string
	}{
		{Samples{1, 2, 2, 1, nil, small, nil, nil}, "image 0: 3 bytes, want 4"},
		{Samples{1, 1, 1, 3, []int64{1, 2}, small, nil, nil}, "2 labels for 1 images"},
		{Samples{1, 1, 1, 3, nil, small, nil, []string{"a", "b"}}, "2 prompts for 1 images"},
		{Samples{1, 1, 1, 3, nil, func(int) ([]byte, error) { return nil, io.ErrClosedPipe }, nil, nil},
			"image 0: io: read/write on closed pipe"},
	} {
		if err := test.s.Write(path); err == nil || !strings.Contains(err.Error(), test.fails) {
			t.Errorf("error %v, want %q", err, test.fails)
		}
	}
}
