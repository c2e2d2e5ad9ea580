package imagefile

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
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
func checkCost(t testing.TB, file []byte) (*Image, error) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	m, err := Decode(t.Context(), file)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if most := uint64(64<<20 + 16*len(file)); after.TotalAlloc-before.TotalAlloc > most {
		t.Errorf("file of %d bytes: allocated %d bytes, want at most %d", len(file), after.TotalAlloc-before.TotalAlloc, most)
	}
	if most := 2*time.Second + time.Second*time.Duration(len(file))/(1<<20); took > most {
		t.Errorf("file of %d bytes: took %v, want at most %v", len(file), took, most)
	}
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
