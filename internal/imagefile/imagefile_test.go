package imagefile

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/npz"
)

// golden returns the archive of the pixels that Pillow reads from testdata/files.
func golden(t *testing.T) *npz.Archive {
	t.Helper()
	a, err := npz.Open("testdata/goldens.npz")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// refused are the files of forms that are not supported, and what the error says.
var refused = map[string]string{
	"jpeg-arithmetic.jpg":          "arithmetic-coded JPEG",
	"jpeg-mixed-sampling.jpg":      "mixed sampling 2x2,1x1,1x2",
	"jpeg-restart-progressive.jpg": "progressive JPEG with restart markers",
}

// TestPillow checks the pixels of every file against Pillow's: equal, except for JPEG, whose
// inverse DCT may round otherwise.
func TestPillow(t *testing.T) {
	a := golden(t)
	if len(a.Names()) != 77 {
		t.Fatalf("%d files, want 77", len(a.Names()))
	}
	var jpegs, sum float64
	for _, name := range a.Names() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata/files", name)
			m, err := ReadFile(t.Context(), path)
			if want, is := refused[name]; is {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("error %v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			array, err := a.Array(name)
			if err != nil {
				t.Fatal(err)
			}
			want, err := npz.Read[uint8](array)
			if err != nil {
				t.Fatal(err)
			}
			if m.Height != array.Shape[0] || m.Width != array.Shape[1] {
				t.Fatalf("%dx%d pixels, want %v", m.Height, m.Width, array.Shape)
			}
			largest, mean := difference(m, want)
			maxLargest, maxMean := 0, 0.0
			if strings.HasPrefix(name, "jpeg") {
				maxLargest, maxMean = 3, 0.07
				jpegs, sum = jpegs+1, sum+mean
			}
			if largest > maxLargest || mean > maxMean {
				t.Errorf("max difference %d, mean %.4f; want at most %d and %.2f", largest, mean, maxLargest, maxMean)
			}
			h, err := ReadHeader(path)
			if err != nil || h.Height != m.Height || h.Width != m.Width {
				t.Errorf("header %+v, error %v; the image has %dx%d", h, err, m.Height, m.Width)
			}
		})
	}
	if mean := sum / jpegs; mean > 0.04 {
		t.Errorf("JPEG: mean difference %.4f, want at most 0.04", mean)
	}
}

// difference compares an image with RGB values.
func difference(m *Image, want []uint8) (largest int, mean float64) {
	for i, v := range want {
		d := int(m.Pix[i/3*m.Channels+i%3%m.Channels]) - int(v)
		d = max(d, -d)
		largest = max(largest, d)
		mean += float64(d) / float64(len(want))
	}
	return largest, mean
}
