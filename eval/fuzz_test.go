package eval

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/bounded"
)

// FuzzClassifier reads a classifier of one tensor, with what its metadata says of it.
func FuzzClassifier(f *testing.F) {
	f.Add(`{"arch":"classifier","size":8,"channels":1,"widths":[4,8,8],"names":["a","b"]}`, "stem.weight", 36)
	f.Add(`{"arch":"classifier","size":4096,"channels":4,"widths":[4096,4096,4096],"names":["a","b"]}`, "head.bias", 2)
	f.Fuzz(func(t *testing.T, config, name string, values int) {
		b, ok := oneTensor(t, name, values&0xFFFF, map[string]string{checkpoint.ConfigKey: config})
		if ok {
			bounded.Run(t, len(b), func() { openWeights(b) })
		}
	})
}

// FuzzWeights reads any file as the weights of a classifier and of Inception.
func FuzzWeights(f *testing.F) {
	for _, name := range []string{"Conv2d_1a_3x3.conv.weight", "fc.weight"} {
		b, _ := oneTensor(f, name, 864, nil)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		bounded.Run(t, len(file), func() { openWeights(file) })
	})
}

// openWeights opens a file as evaluate does.
func openWeights(file []byte) {
	c, err := checkpoint.NewReader("weights", bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return
	}
	IsInception(c)
	_, _ = OpenInception(c, ADM)
	_, _ = OpenClassifier(c)
}

// oneTensor is a safetensors file of one tensor of zeros. It is not ok if a text is no UTF-8.
func oneTensor(t testing.TB, name string, values int, metadata map[string]string) (file []byte, ok bool) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.safetensors")
	err := checkpoint.WriteSafetensors(path, checkpoint.Content{
		Tensors:  []checkpoint.Info{{Name: name, DType: checkpoint.F32, Shape: []int{values}}},
		Metadata: metadata,
		Read:     func(string, []float32) error { return nil },
	})
	if err != nil {
		return nil, false
	}
	if file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return file, true
}
