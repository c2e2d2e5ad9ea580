package dit

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// writePacked writes the named model as a packed file and returns its path.
func writePacked(t testing.TB, name string, d tensor.DType) string {
	t.Helper()
	w, err := Open(filepath.Join(testdata, name), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	path := filepath.Join(t.TempDir(), "model.packed")
	if err := w.WritePacked(path, d); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPackedFileIsTheModel checks that a packed file gives the model of the same bits, with its
// fingerprint, and without copying the weights.
func TestPackedFileIsTheModel(t *testing.T) {
	for _, name := range []string{"dit-tiny", "mdtv1-tiny"} {
		for _, d := range []tensor.DType{tensor.F32, tensor.BF16, tensor.INT8} {
			t.Run(name+"/"+d.String(), func(t *testing.T) {
				ref := openCases(t, name+"/forward.safetensors")
				original, err := Open(filepath.Join(testdata, name), Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer original.Close()
				original.DType = d
				want, err := original.Load()
				if err != nil {
					t.Fatal(err)
				}
				w, err := Open(writePacked(t, name, d), Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				m, err := w.Load()
				if err != nil {
					t.Fatal(err)
				}
				if m.Fingerprint != want.Fingerprint || m.Config != want.Config || m.DType != d || m.Bytes() != want.Bytes() {
					t.Errorf("model %+v of %v, %s, want %+v of %v, %s",
						m.Config, m.DType, m.Fingerprint, want.Config, want.DType, want.Fingerprint)
				}
				pieces := w.packed.recording.Pieces
				if &m.Blocks[0].Attn.QKV.Words()[0] != &pieces[slices.IndexFunc(pieces, func(p nn.Piece) bool {
					return p.Name == "blocks.0.attn.qkv.weight"
				})].Words[0] {
					t.Error("the weights were copied")
				}
				g := newGraph(t, 2)
				b := ref.batch(m, "")
				got := slices.Clone(m.Forward(g, seam.Always, b).Flat())
				for i, v := range want.Forward(g, seam.Always, b).Flat() {
					if math.Float32bits(v) != math.Float32bits(got[i]) {
						t.Fatalf("output %d is %v, want %v", i, got[i], v)
					}
				}
			})
		}
	}
}

// TestPackedFileRefusals checks what a packed file cannot be used for, each with an error that
// says so.
func TestPackedFileRefusals(t *testing.T) {
	path := writePacked(t, "dit-tiny", tensor.INT8)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("training", func(t *testing.T) {
		w, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Trainable(); err == nil || !strings.Contains(err.Error(), "packed for inference") {
			t.Errorf("error %v", err)
		}
		if _, err := w.Frozen(); err == nil || !strings.Contains(err.Error(), "packed for inference") {
			t.Errorf("error %v", err)
		}
		if err := w.WritePacked(path+"2", tensor.F32); err == nil {
			t.Error("a packed file was packed again")
		}
		w.DType = tensor.BF16
		if _, err := w.Load(); err == nil || !strings.Contains(err.Error(), "packed in int8") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("another layout", func(t *testing.T) {
		generic := kernel.Impls()[0]
		if kernel.Active() == generic {
			t.Skip("there is one level only")
		}
		defer kernel.Use(kernel.Use(generic))
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "convert the original again") {
			t.Errorf("error %v", err)
		}
	})
	for name, b := range map[string][]byte{
		"header cut off": content[:12],
		"pieces cut off": content[:len(content)-packedAlign],
		"half":           content[:len(content)/2],
		"other version":  bytes.Replace(content, []byte(`"Version":1`), []byte(`"Version":2`), 1),
		"deeper":         bytes.Replace(content, []byte(`"Depth":3`), []byte(`"Depth":9`), 1),
		"names":          bytes.Replace(content, []byte("qkv.weight"), []byte("qkv.weighs"), 1),
	} {
		t.Run(name, func(t *testing.T) {
			w, err := parsePacked(alignedCopy(b))
			if err == nil {
				w.File = emptyFile
				_, err = w.Load()
			}
			if err == nil {
				t.Error("was read")
			}
		})
	}
}

var emptyFile = &checkpoint.File{Path: "packed"}

// alignedCopy returns b at an address that a mapped file could have.
func alignedCopy(b []byte) []byte {
	floats := kernel.AlignedFloats(len(b)/4 + 1)
	c := unsafe.Slice((*byte)(unsafe.Pointer(&floats[0])), 4*len(floats))[:len(b)]
	copy(c, b)
	return c
}

// FuzzPacked checks that no content of a packed file panics or costs more memory than it has.
func FuzzPacked(f *testing.F) {
	path := writePacked(f, "dit-tiny", tensor.INT8)
	content, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add(content[:2000])
	f.Add(bytes.Replace(content, []byte(`"Hidden":`), []byte(`"Hidden":9`), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := parsePacked(alignedCopy(b))
		if err != nil {
			return
		}
		w.File = emptyFile
		if m, err := w.Load(); err == nil && m.Bytes() > 1<<26+16*int64(len(b)) {
			t.Errorf("a model of %d bytes from a file of %d", m.Bytes(), len(b))
		}
	})
}
