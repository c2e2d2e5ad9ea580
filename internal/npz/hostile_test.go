package npz

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
)

// readAll reads every array of a file.
func readAll(file []byte) error {
	a, err := NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return err
	}
	for _, name := range a.Names() {
		array, err := a.Array(name)
		if err != nil {
			return err
		}
		if _, err := Read[float64](array); err != nil {
			return err
		}
	}
	return nil
}

func TestTruncated(t *testing.T) {
	whole := npy(dict("<f8", "(4, 5)"), make([]byte, 160))
	for name, file := range map[string][]byte{
		"npy": whole, "stored": archive(t, zip.Store, whole), "deflated": archive(t, zip.Deflate, whole),
	} {
		if err := readAll(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := range len(file) {
			if readAll(file[:n]) == nil {
				t.Errorf("%s: no error for the first %d of %d bytes", name, n, len(file))
			}
		}
	}
}

// TestCorrupt changes a checksum: it must show when an array is read whole, and when its last row
// is.
func TestCorrupt(t *testing.T) {
	const checksum = 16 // place in an entry of the table of contents
	for name, method := range map[string]uint16{"stored": zip.Store, "deflated": zip.Deflate} {
		file := archive(t, method, npy(dict("|u1", "(3,)"), []byte{1, 2, 3}))
		file[bytes.Index(file, []byte("PK\x01\x02"))+checksum] ^= 1
		if err := readAll(file); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: error %v", name, err)
		}
		array, err := only(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := array.Rows()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Next(r, make([]uint8, 2)); err != nil {
			t.Errorf("%s, first rows: %v", name, err)
		}
		if _, err := Next(r, make([]uint8, 2)); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s, last row: error %v", name, err)
		}
	}
}

// TestLies changes what an archive's table of contents says about its entry.
func TestLies(t *testing.T) {
	const flags, method, packed, inflated, local = 8, 10, 20, 24, 42 // offsets in an entry of the table
	for _, test := range []struct {
		name   string
		method uint16
		at     int
		value  uint32
		fails  string
	}{
		{"encrypted", zip.Store, flags, 1, "is encrypted"},
		{"unknown method", zip.Store, method, 12, "zip method 12"},
		{"stored but packed", zip.Store, inflated, 1 << 30, "is stored, yet"},
		{"more than the file", zip.Deflate, packed, 1 << 30, "of a file of"},
		{"more than deflate can", zip.Deflate, inflated, 1 << 30, "which they cannot"},
		{"a little more", zip.Deflate, inflated, 300, "bytes"},
		{"elsewhere", zip.Store, local, 1 << 30, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := archive(t, test.method, npy(dict("|u1", "(3,)"), []byte{1, 2, 3}))
			entry := file[bytes.Index(file, []byte("PK\x01\x02")):]
			if test.at < 12 {
				binary.LittleEndian.PutUint16(entry[test.at:], uint16(test.value))
			} else {
				binary.LittleEndian.PutUint32(entry[test.at:], test.value)
			}
			if err := readAll(file); err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s: error %v, want %q", test.name, err, test.fails)
			}
		})
	}
}

func TestNotAnArchive(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("this is no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, fails := range map[string]string{
		text:                          "neither .npz nor .npy",
		dir:                           "not a regular file",
		filepath.Join(dir, "missing"): "no such file",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), fails) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %q", path, err, fails)
		}
	}
}

func TestTwoOfOneName(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for range 2 {
		if _, err := z.Create("a.npy"); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := readAll(b.Bytes()); err == nil || !strings.Contains(err.Error(), `two arrays are named "a"`) {
		t.Errorf("error %v", err)
	}
}

func FuzzRead(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.npz")
	if err != nil || len(paths) == 0 {
		f.Fatalf("seeds: %v, %v", paths, err)
	}
	for _, path := range paths {
		file, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Add(npy(dict("<f4", "(2, 2)"), make([]byte, 16)))
	f.Add(npy(strings.Replace(dict(">i2", "(2, 3)"), "False", "True", 1), make([]byte, 12)))
	f.Add(archive(f, zip.Deflate, npy(dict("|u1", "(9,)"), make([]byte, 9))))
	f.Fuzz(func(t *testing.T, file []byte) {
		bounded.Run(t, len(file), func() {
			_ = readAll(file) // must return
		})
	})
}
