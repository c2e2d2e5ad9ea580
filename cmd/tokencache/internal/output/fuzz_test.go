package output

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
)

// FuzzNoise reads any file as --noise does.
func FuzzNoise(f *testing.F) {
	f.Add([]byte("\x40\x00\x00\x00\x00\x00\x00\x00" + `{"noise":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}    ` + "\x00\x00\x80\x3f"))
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "noise")
		if err := os.WriteFile(path, file, 0o666); err != nil {
			t.Fatal(err)
		}
		bounded.Run(t, len(file), func() { _, _ = ReadNoise(path) })
	})
}

// FuzzPartial resumes a run of three images from any partial file and any description of it. What
// is taken over has the checksum of this run.
func FuzzPartial(f *testing.F) {
	path := filepath.Join(f.TempDir(), "s.npz")
	s, err := Open(path, testRun(3), Mode{}, io.Discard)
	if err != nil {
		f.Fatal(err)
	}
	if err := s.Add(1, sample(1, 3)); err != nil {
		f.Fatal(err)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	partial, state := read(f, path+".partial"), read(f, path+".partial.json")
	f.Add([]byte(partial), []byte(state))
	f.Add([]byte{}, []byte(`{"classes":[0,1,2],"settings":null}`))
	f.Fuzz(func(t *testing.T, partial, state []byte) {
		path := filepath.Join(t.TempDir(), "s.npz")
		for end, b := range map[string][]byte{".partial": partial, ".partial.json": state} {
			if err := os.WriteFile(path+end, b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		bounded.Run(t, len(partial)+len(state), func() {
			s, err := Open(path, testRun(3), Mode{Resume: true}, io.Discard)
			if err != nil {
				return
			}
			for i := range 3 {
				if s.Have(i) && (len(partial) < (i+1)*int(testRun(3).recordBytes())) {
					t.Errorf("image %d is taken over from a file of %d bytes", i, len(partial))
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	})
}

// FuzzFolder reads any file as the first image of a folder that a run wrote, and resumes the run.
func FuzzFolder(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(dir, testRun(2), Mode{}, io.Discard)
	if err != nil {
		f.Fatal(err)
	}
	if err := s.Add(0, sample(0, 3)); err != nil {
		f.Fatal(err)
	}
	s.Close()
	f.Add([]byte(read(f, filepath.Join(dir, "000000.png"))))
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "000000.png"), file, 0o666); err != nil {
			t.Fatal(err)
		}
		bounded.Run(t, len(file), func() {
			if images, err := ReadFolder(dir); err == nil && images != nil {
				_, _ = images.Image(0)
			}
			if s, err := Open(dir, testRun(2), Mode{Resume: true}, io.Discard); err == nil {
				s.Close()
			}
		})
	})
}

// FuzzProvenance reads any file as an npz file that a run wrote.
func FuzzProvenance(f *testing.F) {
	f.Add([]byte("PK\x05\x06" + string(make([]byte, 18))))
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "s.npz")
		if err := os.WriteFile(path, file, 0o666); err != nil {
			t.Fatal(err)
		}
		bounded.Run(t, len(file), func() { _, _ = readAbout(path) })
	})
}
