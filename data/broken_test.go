package data

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// openBroken opens testdata/broken, where one JPEG of nine images is cut off behind its header,
// with Skip, and returns what it warns of.
func openBroken(t *testing.T) (*Set, *[]string) {
	t.Helper()
	warned := new([]string)
	return mustOpen(t, "testdata/broken", Options{
		Channels: 1, Skip: true, Warn: func(err error) { *warned = append(*warned, err.Error()) },
	}), warned
}

const cutImage = "b/cut.jpg: decode image: invalid JPEG format: short Huffman data"

// TestBrokenError checks that the error of a broken image names its file, and is reported once if
// it is to be skipped.
func TestBrokenError(t *testing.T) {
	s := mustOpen(t, "testdata/broken", Options{Channels: 1})
	_, err := s.Image(8)
	var broken *BrokenError
	if !errors.As(err, &broken) || broken.Skipped || broken.Error() != cutImage {
		t.Errorf("error %v (%+v), want one of %s", err, broken, cutImage)
	}
	if _, err := NewOrder(9, 1).Read(0, fails{8: err}, nil); err != nil {
		t.Errorf("another image: error %v", err)
	}

	skipping, warned := openBroken(t)
	for range 3 {
		if _, err := skipping.Image(8); !errors.As(err, &broken) || !broken.Skipped || !errors.Is(err, broken.Err) {
			t.Errorf("error %v (%+v), want a skipped one", err, broken)
		}
	}
	equal(t, "warnings", *warned, []string{cutImage})
}

// fails is images of which some give an error.
type fails map[int]error

func (f fails) Read(i int, _ []float32) error { return f[i] }

// TestOrderRead checks that a broken image is replaced by the next whole one of its epoch, wherever
// a run begins.
func TestOrderRead(t *testing.T) {
	const n, seed = 7, 3
	skip := &BrokenError{File: "x", Err: errors.New("broken"), Skipped: true}
	from := fails{2: fmt.Errorf("data: %w", skip), 5: skip}
	o := NewOrder(n, seed)
	var want []int
	for k := range int64(3 * n) {
		epoch := take(o, k-k%n, n)
		at := int(k % n)
		for from[epoch[at]] != nil {
			at = (at + 1) % n
		}
		want = append(want, epoch[at])
	}
	for _, start := range []int64{0, 1, 6, 8, 20} {
		resumed, got := NewOrder(n, seed), []int(nil)
		for k := start; k < 3*n; k++ {
			i, err := resumed.Read(k, from, nil)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, i)
		}
		if d := cmp.Diff(want[start:], got); d != "" {
			t.Errorf("from element %d (-want +got):\n%s", start, d)
		}
	}

	other := errors.New("disk on fire")
	if _, err := o.Read(0, fails{o.At(0): other}, nil); err != other {
		t.Errorf("an error that is not a broken image's: %v", err)
	}
	all := fails{}
	for i := range n {
		all[i] = skip
	}
	if _, err := o.Read(0, all, nil); err == nil || err.Error() != "data: all of the 7 images are broken" {
		t.Errorf("all broken: error %v", err)
	}
}

// TestOrderReadSet checks that what a set reads depends on seed and files alone, not on what was
// read before.
func TestOrderReadSet(t *testing.T) {
	read := func(first int64) (list [][]float32) {
		s, warned := openBroken(t)
		o := NewOrder(s.Len(), 5)
		for k := first; k < 27; k++ {
			dst := make([]float32, s.Size*s.Size)
			i, err := o.Read(k, s, dst)
			if err != nil || i == 8 {
				t.Fatalf("element %d is image %d, error %v", k, i, err)
			}
			list = append(list, dst)
		}
		equal(t, "warnings", *warned, []string{cutImage})
		return list
	}
	equal(t, "resumed after 11 elements", read(11), read(0)[11:])
}

// TestDropBroken checks that the other images and labels stay as they are.
func TestDropBroken(t *testing.T) {
	s, warned := openBroken(t)
	want, labels := [][]uint8(nil), slices.Clone(s.Labels[:8])
	for i := range 8 {
		m, err := s.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, m.Pix)
	}
	for range 2 {
		if err := s.DropBroken(); err != nil {
			t.Fatal(err)
		}
		equal(t, "images", pixels(t, s), want)
		equal(t, "labels", s.Labels, labels)
	}
	equal(t, "warnings", *warned, []string{cutImage})
	if err := mustOpen(t, "testdata/broken", Options{}).DropBroken(); err == nil {
		t.Error("no error without Skip")
	}

	dir := t.TempDir()
	write(t, dir, "class/a.png", hugePNG(4, 4))
	if err := mustOpen(t, dir, Options{Skip: true}).DropBroken(); err == nil {
		t.Error("no error where all are broken")
	}
}

// TestLasting checks which errors of the file system make a file a broken one: a run must not
// depend on the others.
func TestLasting(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errors.New("decode image: bad"), true},
		{&fs.PathError{Err: syscall.ENOENT}, true},
		{&fs.PathError{Err: syscall.EACCES}, true},
		{&fs.PathError{Err: syscall.EMFILE}, false},
		{&fs.PathError{Err: syscall.EIO}, false},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			if got := lasting(c.err); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestFormats checks that images of all endings are found.
func TestFormats(t *testing.T) {
	s := mustOpen(t, "testdata/formats", Options{})
	equal(t, "counts", s.Counts(), []int{4, 4})
	if s.PassedOver != nil {
		t.Errorf("passed over %v", s.PassedOver)
	}
	pixels(t, s)
}

// TestPassedOver checks that files with other endings are counted, in whatever class they are, and
// hidden ones are not.
func TestPassedOver(t *testing.T) {
	dir := t.TempDir()
	writeImages(t, dir, "")
	write(t, dir, "ant/LICENSE", nil)
	write(t, dir, "ant/a.jp2", nil)
	write(t, dir, "zebra/b.JP2", nil)
	s := mustOpen(t, dir, Options{})
	equal(t, "passed over", s.PassedOver, PassedOver{{".jp2", 2}, {"", 1}, {".txt", 1}})
	equal(t, "in words", s.PassedOver.String(), "4 files: 2 .jp2, 1 without an ending, 1 .txt")
}

// TestFlat checks a folder of images without subfolders, which have no classes.
func TestFlat(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.png", "a.png", "notes.txt", ".hidden.png"} {
		write(t, dir, name, pngFile(t, colourful(4)))
	}
	s := mustOpen(t, dir, Options{})
	equal(t, "labels", s.Labels, []int32{-1, -1})
	equal(t, "passed over", s.PassedOver.String(), "1 file: 1 .txt")
	equal(t, "images", pixels(t, s), [][]uint8{rgb(colourful(4)), rgb(colourful(4))})
	if s.Classes != nil {
		t.Errorf("classes %q", s.Classes)
	}
	if _, err := Open(t.Context(), dir, Options{Split: "test"}); !errors.Is(err, ErrNoSplits) {
		t.Errorf("split test: error %v", err)
	}
}

// TestGenerated checks that of a folder that generate wrote the images are taken and the contact
// sheet is not.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	m := &Image{Height: 2, Width: 2, Channels: 1, Pix: []uint8{1, 2, 3, 4}}
	for i, name := range []string{"000000.png", "000001.png", "1000000.png"} {
		writeText(t, filepath.Join(dir, name), m, fmt.Sprint(i))
	}
	write(t, dir, "sheet.png", pngFile(t, colourful(40)))
	s := mustOpen(t, dir, Options{Channels: 1})
	equal(t, "images", pixels(t, s), [][]uint8{m.Pix, m.Pix, m.Pix})

	if err := os.Remove(filepath.Join(dir, "000000.png")); err != nil {
		t.Fatal(err)
	}
	equal(t, "images of a folder of other PNGs", mustOpen(t, dir, Options{Size: 2}).Len(), 3)
}

// TestCIFARPickles checks that CIFAR's files for Python are told what they are.
func TestCIFARPickles(t *testing.T) {
	for _, name := range []string{"data_batch_1", "test_batch", "train"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "meta", []byte("\x80\x02}q\x00."))
			path := write(t, dir, name, []byte("\x80\x02}q\x00."))
			wantError(t, dir, Options{}, "Python version", "binary version")
			wantError(t, path, Options{}, "Python version", "binary version")
		})
	}
}
