package data

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
)

// idxFile is an IDX file of unsigned bytes of the sizes given.
func idxFile(elements []byte, sizes ...int) []byte {
	b := []byte{0, 0, 8, byte(len(sizes))}
	for _, n := range sizes {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return append(b, elements...)
}

// writeIDX writes n images of 3x3 pixels and labels 9, 8, ... to a folder, in files whose names
// begin with prefix.
func writeIDX(t *testing.T, dir, prefix string, n int, ending string) (pix, labels []byte) {
	t.Helper()
	pix, labels = gradient(9*n, len(prefix)), make([]byte, n)
	for i := range labels {
		labels[i] = byte(9 - i%10)
	}
	images, numbers := idxFile(pix, n, 3, 3), idxFile(labels, n)
	if ending == ".gz" {
		images, numbers = zipped(images), zipped(numbers)
	}
	write(t, dir, prefix+"-images-idx3-ubyte"+ending, images)
	write(t, dir, prefix+"-labels-idx1-ubyte"+ending, numbers)
	return pix, labels
}

// rows cuts bytes into images.
func rows(b []byte, size int) [][]uint8 { return slices.Collect(slices.Chunk(b, size)) }

func numbers(labels []byte) []int32 {
	out := make([]int32, len(labels))
	for i, l := range labels {
		out[i] = int32(l)
	}
	return out
}

func TestIDX(t *testing.T) {
	for _, ending := range []string{"", ".gz"} {
		dir := filepath.Join(t.TempDir(), "digits")
		train, trainLabels := writeIDX(t, dir, "train", 12, ending)
		test, testLabels := writeIDX(t, dir, "t10k", 3, ending)
		for split, want := range map[string]struct{ pix, labels []byte }{
			"": {train, trainLabels}, "train": {train, trainLabels}, "test": {test, testLabels},
			"all": {slices.Concat(train, test), slices.Concat(trainLabels, testLabels)},
		} {
			s := mustOpen(t, dir, Options{Split: split})
			equal(t, "images of split "+split, pixels(t, s), rows(want.pix, 9))
			equal(t, "labels of split "+split, s.Labels, numbers(want.labels))
			equal(t, "kind, path, size, channels", []any{s.Kind, s.Path, s.Size, s.Channels}, []any{"IDX", dir, 3, 1})
		}
		s := mustOpen(t, dir, Options{})
		equal(t, "counts", s.Counts(), []int{1, 1, 1, 1, 1, 1, 1, 1, 2, 2})
		equal(t, "classes", s.Classes, digitNames)

		one := mustOpen(t, filepath.Join(dir, "t10k-images-idx3-ubyte"+ending), Options{})
		equal(t, "images of one file", pixels(t, one), rows(test, 9))
		equal(t, "labels of one file", one.Labels, numbers(testLabels))
		wantError(t, filepath.Join(dir, "t10k-images-idx3-ubyte"+ending), Options{Split: "test"}, "no splits")
		wantError(t, filepath.Join(dir, "t10k-labels-idx1-ubyte"+ending), Options{}, "labels", "images and idx3")
	}
}

// TestIDXNames checks the names of files and folders that are found: those with a dot, next to a
// folder of the usual name, labels packed while images are not, and Fashion-MNIST's classes.
func TestIDXNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Fashion-MNIST", "raw")
	write(t, dir, "train-images.idx3-ubyte", idxFile(gradient(8, 0), 2, 2, 2))
	write(t, dir, "train-labels.idx1-ubyte.gz", zipped(idxFile([]byte{9, 0}, 2)))
	write(t, dir, "train-images-idx3-ubyte/notes", nil)
	s := mustOpen(t, dir, Options{})
	equal(t, "classes in a folder named raw", s.Classes, digitNames)
	one := mustOpen(t, filepath.Join(dir, "train-images.idx3-ubyte"), Options{})
	equal(t, "labels", one.Labels, []int32{9, 0})

	fashion := filepath.Join(t.TempDir(), "my-FASHION-mnist")
	writeIDX(t, fashion, "train", 1, "")
	s = mustOpen(t, fashion, Options{})
	equal(t, "name of class 9", s.Classes[s.Labels[0]], "ankle boot")
	t.Chdir(fashion)
	equal(t, "classes of the folder one is in", mustOpen(t, ".", Options{}).Classes, fashionNames)
}

func TestIDXMistakes(t *testing.T) {
	good, labels := idxFile(gradient(8, 0), 2, 2, 2), idxFile([]byte{0, 1}, 2)
	packed := zipped(good)
	badSum := bytes.Clone(packed)
	badSum[len(badSum)-8] ^= 1
	for name, c := range map[string]struct {
		images, labels []byte
		want           []string
	}{
		"empty":             {nil, labels, []string{"train-images-idx3-ubyte", "header of 16 bytes"}},
		"cut header":        {good[:10], labels, []string{"train-images-idx3-ubyte", "header of 16 bytes"}},
		"cut":               {good[:23], labels, []string{"train-images-idx3-ubyte", "takes 8 bytes, 7 follow"}},
		"long":              {append(bytes.Clone(good), 0), labels, []string{"takes 8 bytes, 9 follow"}},
		"cut gzip":          {packed[:len(packed)-12], labels, []string{"train-images-idx3-ubyte", "unexpected EOF"}},
		"gzip without sum":  {packed[:len(packed)-4], labels, []string{"unexpected EOF"}},
		"gzip header alone": {packed[:5], labels, []string{"gzip", "unexpected EOF"}},
		"gzip, wrong sum":   {badSum, labels, []string{"checksum"}},
		"gzip too short":    {zipped(good[:20]), labels, []string{"takes 8 bytes, found 4"}},
		"gzip too long":     {zipped(append(bytes.Clone(good), 0)), labels, []string{"takes 8 bytes, more follow"}},
		"huge":              {idxFile(nil, 1<<31-1, maxSize, maxSize), labels, []string{"takes 576460752034988032 bytes, 0 follow"}},
		"huge gzip":         {zipped(idxFile(nil, 1<<31-1, maxSize, maxSize)), labels, []string{"unpacked it can be read"}},
		"no images":         {idxFile(nil, 0, 2, 2), labels, []string{"size 0 of dimension 0"}},
		"wide":              {idxFile(nil, 1, 1, maxSize+1), labels, []string{"size 16385 of dimension 2"}},
		"not square":        {idxFile(gradient(8, 0), 2, 1, 4), labels, []string{"1x4", "square"}},
		"labels as images":  {labels, labels, []string{"IDX header"}},
		"images as labels":  {good, good, []string{"train-labels-idx1-ubyte", "3 dimensions, want 1"}},
		"floats":            {[]byte("\x00\x00\x0d\x03aaaabbbbcccc"), labels, []string{"starts with 00 00 0d 03, want 00 00 08"}},
		"too few labels":    {good, idxFile([]byte{1}, 1), []string{"train-labels-idx1-ubyte", "1 labels for 2 images"}},
		"too many labels":   {good, idxFile([]byte{1, 1, 1}, 3), []string{"3 labels for 2 images"}},
		"label 10":          {good, idxFile([]byte{1, 10}, 2), []string{"train-labels-idx1-ubyte", "label 10 of image 1: want 0 to 9"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "train-images-idx3-ubyte", c.images)
			write(t, dir, "train-labels-idx1-ubyte", c.labels)
			wantError(t, dir, Options{}, c.want...)
		})
	}
	dir := t.TempDir()
	write(t, dir, "train-images-idx3-ubyte", good)
	wantError(t, dir, Options{}, "train-labels-idx1-ubyte: no such file")
	wantError(t, dir, Options{Split: "test"}, "split train only")
	write(t, dir, "t10k-images-idx3-ubyte", idxFile(gradient(9, 0), 1, 3, 3))
	write(t, dir, "t10k-labels-idx1-ubyte", idxFile([]byte{1}, 1))
	write(t, dir, "train-labels-idx1-ubyte", labels)
	wantError(t, dir, Options{Split: "all"}, "3x3x1 after others of 2x2x1")
}

// TestIDXSkip leaves a broken split out, but not all there is.
func TestIDXSkip(t *testing.T) {
	dir := t.TempDir()
	test, _ := writeIDX(t, dir, "t10k", 2, "")
	write(t, dir, "train-images-idx3-ubyte", []byte("broken"))
	var warned []string
	o := Options{Split: "all", Skip: true, Warn: func(err error) { warned = append(warned, err.Error()) }}
	equal(t, "images", pixels(t, mustOpen(t, dir, o)), rows(test, 9))
	if len(warned) != 1 || !strings.Contains(warned[0], "train-images-idx3-ubyte") {
		t.Errorf("warned of %q", warned)
	}
	wantError(t, dir, Options{Skip: true}, "no images")
}

func FuzzIDX(f *testing.F) {
	good := idxFile(gradient(8, 0), 2, 2, 2)
	for _, file := range [][]byte{
		good, good[:20], zipped(good), zipped(good)[:30], idxFile(nil, 1<<31-1, 9, 9), idxFile([]byte{1, 2}, 2), nil,
	} {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		bounded.Run(t, len(file), func() {
			for _, dims := range []int{1, 3} {
				shape, elements, err := readIDX(bytes.NewReader(file), int64(len(file)), dims)
				if err != nil {
					continue
				}
				total := 1
				for _, n := range shape {
					total *= n
				}
				if len(shape) != dims || len(elements) != total || cap(elements) > 4*len(elements)+4096 {
					t.Fatalf("shape %v, %d elements in room for %d", shape, len(elements), cap(elements))
				}
				again := idxFile(elements, shape...)
				if !bytes.HasPrefix(file, []byte(gzipMagic)) && !bytes.Equal(again, file) {
					t.Fatal("written again, the file differs")
				}
			}
		})
	})
}
