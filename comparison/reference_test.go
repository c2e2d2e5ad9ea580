package comparison

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/formula"
)

// formulaSource gives weights by their names.
type formulaSource struct{}

func (formulaSource) Read(name string, dst []float32) error {
	formula.Uniform(name, 0, 0.5, dst)
	return nil
}

// writeIDX writes count random images of 8 pixels a side with labels of 3 classes, as MNIST has
// them.
func writeIDX(t *testing.T, dir, part string, count int) {
	t.Helper()
	images := []byte{0, 0, 8, 3}
	for _, n := range []int{count, 8, 8} {
		images = binary.BigEndian.AppendUint32(images, uint32(n))
	}
	labels := binary.BigEndian.AppendUint32([]byte{0, 0, 8, 1}, uint32(count))
	for i := range count * 64 {
		images = append(images, byte(i*i*7+len(part)*i))
	}
	for i := range count {
		labels = append(labels, byte(i%3))
	}
	for name, b := range map[string][]byte{"images-idx3-ubyte": images, "labels-idx1-ubyte": labels} {
		if err := os.WriteFile(filepath.Join(dir, part+"-"+name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReference checks what is measured of real images with two parts and with one.
func TestReference(t *testing.T) {
	n, err := eval.NewClassifier(eval.ClassifierConfig{
		Size:     8,
		Channels: 1,
		Widths:   []int{4, 4, 4},
		Names:    []string{"a", "b", "c"},
	}, formulaSource{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeIDX(t, dir, "t10k", 30)
	writeIDX(t, dir, "train", 40)
	r := NewReference(n, "net")
	if err := r.Open(context.Background(), dir, 20, 1, 1); err != nil {
		t.Fatal(err)
	}
	if r.Images != 30 || r.Gaussian.N != 30 || r.Agreement == nil || r.Frechet == nil || !(r.Frechet.Value > 0) {
		t.Errorf("of two parts: %+v", r)
	}
	one := NewReference(n, "net")
	if err := one.Open(context.Background(), filepath.Join(dir, "t10k-images-idx3-ubyte"), 20, 1, 1); err != nil {
		t.Fatal(err)
	}
	if one.Images != 30 || one.Frechet != nil {
		t.Errorf("of one file: %+v", one)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := NewReference(n, "net").Open(ctx, dir, 20, 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v after the end of ctx", err)
	}
	if err := NewReference(n, "net").Open(context.Background(), "nowhere", 20, 1, 1); err == nil {
		t.Error("no error for no data")
	}
}
