package imagefile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestSameImage checks that 27 forms of one image, of 7 x 7 pixels, are read as the same pixels:
// whatever the format, its header, bit depth, masks, compression, interlacing, alpha and gamma,
// what follows its end, and the ending of its name.
func TestSameImage(t *testing.T) {
	want, err := ReadFile(t.Context(), "testdata/same/plain.ppm")
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("testdata/same/*")
	if err != nil || len(paths) != 28 {
		t.Fatalf("%d files (%v), want 28", len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			m, err := ReadFile(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if m.Height != want.Height || m.Width != want.Width || !bytes.Equal(m.Pix, want.Pix) {
				t.Errorf("%d x %d pixels %v, want %v", m.Height, m.Width, m.Pix, want.Pix)
			}
		})
	}
	if b, err := os.ReadFile("testdata/same/plain.ppm"); err != nil || !bytes.HasSuffix(b, want.Pix) {
		t.Errorf("the pixels are not those of the file (%v)", err)
	}
}
