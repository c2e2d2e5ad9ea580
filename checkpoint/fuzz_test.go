package checkpoint

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
)

// FuzzOpen reads files of every format.
func FuzzOpen(f *testing.F) {
	for _, b := range fixtures(f) {
		f.Add(b)
	}
	for _, name := range []string{"pickle-ordered.pt", "pickle-newobj.pt", "pickle-search.pt"} {
		b, err := os.ReadFile(wild + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded.Run(t, len(b), func() { _ = parse(b) })
	})
}

// FuzzSafetensors reads headers, before data of zeros.
func FuzzSafetensors(f *testing.F) {
	f.Add(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"format":"pt"}}`, 8)
	f.Add(`{"a":{"dtype":"F16","shape":[],"data_offsets":[0,2]},"b":{"dtype":"BF16","shape":[1,3],"data_offsets":[2,8]}}`, 8)
	f.Fuzz(func(t *testing.T, h string, n int) {
		b := header(h, n&0xFFFF)
		bounded.Run(t, len(b), func() { _ = parse(b) })
	})
}

// FuzzIndex reads indexes of shards.
func FuzzIndex(f *testing.F) {
	f.Add(`{"metadata":{"total_size":1},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}`)
	f.Add(`{"weight_map":{"a":"x","a":"y"}}`)
	f.Fuzz(func(t *testing.T, s string) {
		bounded.Run(t, len(s), func() {
			m, err := readIndex(strings.NewReader(s), int64(len(s)))
			if err == nil && len(m) == 0 {
				t.Error("an index of no tensors is accepted")
			}
		})
	})
}

// FuzzPickle runs pickles and reads the tensors that they make.
func FuzzPickle(f *testing.F) {
	for _, name := range []string{"zip.pt", "nested.pt"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		if i := bytes.Index(b, []byte{opProto, 2}); i >= 0 {
			f.Add(b[i:])
		}
	}
	f.Add([]byte("\x80\x02cos\nsystem\nU\x02ls\x85R."))
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded.Run(t, len(b), func() {
			root, err := load(string(b))
			if err != nil {
				return
			}
			file := &File{ctx: t.Context(), size: int64(len(b))}
			sets, err := file.setsIn(root, func(*storageRef) (placed, error) {
				return placed{section{bytes.NewReader(b), 0}, int64(len(b))}, nil
			})
			if err != nil || file.choose(sets, OpenOptions{Known: isDiT}) != nil {
				return
			}
			for _, name := range file.Names() {
				_, _ = file.Float32(name)
			}
		})
	})
}

// FuzzLegacy reads files of the older format.
func FuzzLegacy(f *testing.F) {
	b, err := os.ReadFile("testdata/legacy.pt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded.Run(t, len(b), func() {
			file, err := NewReader("test", bytes.NewReader(b), int64(len(b)))
			if err != nil {
				return
			}
			for _, name := range file.Names() {
				if _, err := file.Float32(name); errors.Is(err, io.EOF) {
					t.Errorf("tensor %s ends early without saying what was read", name)
				}
			}
		})
	})
}
