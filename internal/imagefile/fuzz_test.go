package imagefile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
)

// testFiles returns the contents of testdata/files by name.
func testFiles(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/files/*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if files[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// checkCost decodes a file and checks that neither time nor memory goes beyond what its size
// allows.
func checkCost(t testing.TB, file []byte) (m *Image, err error) {
	t.Helper()
	bounded.Run(t, len(file), func() { m, err = Decode(t.Context(), file) })
	return m, err
}

// FuzzDecode checks that whatever a file holds, decoding it gives an image of the size that its
// header says, or an error, at a cost that its size bounds.
func FuzzDecode(f *testing.F) {
	for _, file := range testFiles(f) {
		f.Add(file)
	}
	for _, c := range hostile {
		if len(c.file) < 1<<12 {
			f.Add(c.file)
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := checkCost(t, file)
		if err != nil {
			return
		}
		if len(m.Pix) != m.Height*m.Width*m.Channels || m.Channels != 1 && m.Channels != 3 || len(m.Pix) == 0 {
			t.Fatalf("%d bytes of %dx%dx%d", len(m.Pix), m.Height, m.Width, m.Channels)
		}
	})
}
