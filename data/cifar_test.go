package data

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
)

// cifar10Record is an image of CIFAR-10 with its label.
func cifar10Record(label byte, start int) []byte {
	return append([]byte{label}, gradient(cifarPixels, start)...)
}

func cifar100Record(label byte, start int) []byte {
	return append([]byte{label / 5}, cifar10Record(label, start)...)
}

// interleaved is an image of gradient as [height, width, channels].
func interleaved(start int) []uint8 {
	planes, out := gradient(cifarPixels, start), []uint8{}
	for p := range cifarPlane {
		out = append(out, planes[p], planes[cifarPlane+p], planes[2*cifarPlane+p])
	}
	return out
}

func TestCIFAR10(t *testing.T) {
	dir := t.TempDir()
	for i, name := range cifarForms[0].train {
		write(t, dir, name, slices.Concat(cifar10Record(byte(i), i), cifar10Record(9, 100+i)))
	}
	write(t, dir, "test_batch.bin", cifar10Record(7, 50))
	train := []int{0, 100, 1, 101, 2, 102, 3, 103, 4, 104}
	for split, c := range map[string]struct {
		starts []int
		labels []int32
	}{
		"":     {train, []int32{0, 9, 1, 9, 2, 9, 3, 9, 4, 9}},
		"test": {[]int{50}, []int32{7}},
		"all":  {append(slices.Clone(train), 50), []int32{0, 9, 1, 9, 2, 9, 3, 9, 4, 9, 7}},
	} {
		s := mustOpen(t, dir, Options{Split: split})
		var want [][]uint8
		for _, start := range c.starts {
			want = append(want, interleaved(start))
		}
		equal(t, "images of split "+split, pixels(t, s), want)
		equal(t, "labels of split "+split, s.Labels, c.labels)
		equal(t, "kind, size, channels", []any{s.Kind, s.Size, s.Channels}, []any{"CIFAR-10", 32, 3})
		equal(t, "name of class 1", s.Classes[1], "automobile")
	}
	write(t, dir, "batches.meta.txt", []byte("a\nb\nc\nd\ne\nf\ng\nh\ni\nlast one\n\n"))
	equal(t, "names", mustOpen(t, dir, Options{}).Classes[8:], []string{"i", "last one"})
	one := mustOpen(t, filepath.Join(dir, "test_batch.bin"), Options{})
	equal(t, "one file", []any{one.Kind, one.Classes[9], one.Len()}, []any{"CIFAR-10", "last one", 1})
	write(t, dir, "batches.meta.txt", []byte("a\nb\n"))
	wantError(t, dir, Options{}, "batches.meta.txt: 2 names, want 10")
}

func TestCIFAR100(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "train.bin", slices.Concat(cifar100Record(99, 1), cifar100Record(0, 2)))
	s := mustOpen(t, dir, Options{Split: "all"})
	equal(t, "kind", s.Kind, "CIFAR-100")
	equal(t, "images", pixels(t, s), [][]uint8{interleaved(1), interleaved(2)})
	equal(t, "fine labels", s.Labels, []int32{99, 0})
	equal(t, "name", s.Classes[99], "99")
	wantError(t, dir, Options{Split: "test"}, "test.bin: no such file")

	write(t, dir, "fine_label_names.txt", []byte(strings.Repeat("apple\n", 99)+"worm\n"))
	equal(t, "name", mustOpen(t, dir, Options{}).Classes[99], "worm")
	one := mustOpen(t, filepath.Join(dir, "train.bin"), Options{})
	equal(t, "one file", []any{one.Kind, one.Classes[99], one.Labels[0]}, []any{"CIFAR-100", "worm", int32(99)})
}

func TestCIFARMistakes(t *testing.T) {
	good := cifar10Record(1, 0)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":    {nil, "0 bytes: want images of 3073 bytes"},
		"cut":      {good[:3000], "3000 bytes: want images of 3073 bytes"},
		"long":     {append(bytes.Clone(good), 0), "3074 bytes"},
		"label 10": {cifar10Record(10, 0), "label 10 of image 0: want 0 to 9"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "test_batch.bin", c.file)
			wantError(t, dir, Options{Split: "test"}, "test_batch.bin", c.want)
		})
	}
	dir := t.TempDir()
	other := write(t, dir, "other.bin", good[:100])
	wantError(t, other, Options{}, "100 bytes: want a multiple of 3073 (CIFAR-10) or of 3074")
	wantError(t, write(t, dir, "both.bin", make([]byte, 3073*3074)), Options{}, "not of both")
	_, _, err := cifarForms[0].read(bytes.NewReader(good), 2*3073)
	if err == nil || !strings.Contains(err.Error(), "image 1 of 2: unexpected EOF") {
		t.Errorf("a file that shrinks: error %v", err)
	}

	// A missing or broken batch is not passed over in silence.
	batches := t.TempDir()
	for _, name := range cifarForms[0].train[:4] {
		write(t, batches, name, good)
	}
	wantError(t, batches, Options{}, "data_batch_5.bin: no such file")
	var warned []string
	s := mustOpen(t, batches, Options{Skip: true, Warn: func(err error) { warned = append(warned, err.Error()) }})
	equal(t, "images without the missing batch", s.Len(), 4)
	equal(t, "warnings", warned, []string{"data_batch_5.bin: no such file or directory"})
}

func FuzzCIFAR(f *testing.F) {
	for _, file := range [][]byte{cifar10Record(1, 0), cifar100Record(1, 0), cifar10Record(200, 0), nil} {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		bounded.Run(t, len(file), func() {
			for _, form := range cifarForms {
				images, labels, err := form.read(bytes.NewReader(file), int64(len(file)))
				if err != nil {
					continue
				}
				if len(images.pix) != len(labels)*cifarPixels || len(labels)*int(form.record()) != len(file) {
					t.Fatalf("%d labels, %d bytes of pixels, of %d bytes", len(labels), len(images.pix), len(file))
				}
				for i, label := range labels {
					if label < 0 || int(label) >= len(form.classes) {
						t.Fatalf("label %d of image %d", label, i)
					}
				}
			}
		})
	})
}
