package data

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/imagefile"
	"github.com/tokencache/tokencache/internal/raster"
)

// colourful is an image of n x n pixels that differ.
func colourful(n int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, n, n))
	for y := range n {
		for x := range n {
			m.SetNRGBA(x, y, color.NRGBA{uint8(40 * x), uint8(30 * y), uint8(200 - 10*x - y), 255})
		}
	}
	return m
}

func pngFile(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegFile(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rgb is an image's bytes by the standard library's own conversion, for opaque images.
func rgb(m image.Image) []uint8 {
	var out []uint8
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, b, _ := m.At(x, y).RGBA()
			out = append(out, uint8(r>>8), uint8(g>>8), uint8(b>>8))
		}
	}
	return out
}

// writeImages makes a folder of two classes below dir and prefix, with images of 4x4 pixels.
func writeImages(t *testing.T, dir, prefix string) {
	t.Helper()
	write(t, dir, prefix+"zebra/b.png", pngFile(t, colourful(4)))
	write(t, dir, prefix+"zebra/a.JPG", jpegFile(t, colourful(4)))
	write(t, dir, prefix+"ant/one.jpeg", pngFile(t, colourful(4))) // the ending is wrong, which does not matter
	write(t, dir, prefix+"ant/notes.txt", []byte("not an image"))
	write(t, dir, prefix+"ant/.hidden.png", []byte("not an image"))
	write(t, dir, prefix+".cache/x.png", []byte("not an image"))
	write(t, dir, "README.md", []byte("about"))
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	writeImages(t, dir, "")
	if err := os.MkdirAll(filepath.Join(dir, "moth"), 0o777); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, dir, Options{})
	jpg, err := imagefile.Decode(t.Context(), jpegFile(t, colourful(4)))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "classes", s.Classes, []string{"ant", "moth", "zebra"})
	equal(t, "labels", s.Labels, []int32{0, 2, 2})
	equal(t, "counts", s.Counts(), []int{1, 0, 2})
	equal(t, "images", pixels(t, s), [][]uint8{rgb(colourful(4)), jpg.Pix, rgb(colourful(4))})
	equal(t, "kind, size, channels", []any{s.Kind, s.Size, s.Channels}, []any{"image folder", 4, 3})
	wantError(t, dir, Options{Split: "test"}, "no splits")

	grey := mustOpen(t, dir, Options{Channels: 1})
	want := make([]uint8, 16)
	for i := range want {
		c := rgb(colourful(4))[3*i:]
		want[i] = luma(c[0], c[1], c[2])
	}
	equal(t, "grey", pixels(t, grey)[0], want)
}

// TestFolderSplits checks that classes have the same number in every split, also those that a split
// has no folder of.
func TestFolderSplits(t *testing.T) {
	dir := t.TempDir()
	writeImages(t, dir, "train/")
	write(t, dir, "val/zebra/v.png", pngFile(t, colourful(4)))
	write(t, dir, "val/bee/v.png", pngFile(t, colourful(4)))
	for split, want := range map[string][]int32{
		"": {0, 2, 2}, "train": {0, 2, 2}, "test": {1, 2}, "all": {0, 2, 2, 1, 2},
	} {
		t.Run("split "+split, func(t *testing.T) {
			s := mustOpen(t, dir, Options{Split: split})
			equal(t, "classes", s.Classes, []string{"ant", "bee", "zebra"})
			equal(t, "labels", s.Labels, want)
		})
	}
	write(t, dir, "test/ant/t.png", pngFile(t, colourful(4)))
	for split, want := range map[string][]int32{"": {0, 2, 2}, "test": {0}, "all": {0, 2, 2, 0, 1, 2}} {
		equal(t, "labels of split "+split+" with test and val", mustOpen(t, dir, Options{Split: split}).Labels, want)
	}
	only := t.TempDir()
	write(t, only, "test/ant/t.png", pngFile(t, colourful(4)))
	wantError(t, only, Options{}, "classes in test only")
	equal(t, "labels", mustOpen(t, only, Options{Split: "all"}).Labels, []int32{0})

	vehicles := t.TempDir() // train is a class like any other here
	write(t, vehicles, "car/c.png", pngFile(t, colourful(4)))
	write(t, vehicles, "train/t.png", pngFile(t, colourful(4)))
	equal(t, "classes", mustOpen(t, vehicles, Options{}).Classes, []string{"car", "train"})
}

// TestFolderRemarks checks that what is not read of a folder is said, and that folders called like
// splits are not taken for classes.
func TestFolderRemarks(t *testing.T) {
	for _, test := range []struct {
		name, split string
		files       []string
		labels      []int32
		want        []string // remarks
	}{
		{"loose image", "", []string{"a/1.png", "b/1.png", "loose.png"}, []int32{0, 1},
			[]string{"passed over images outside the folders: 1, loose.png"}},
		{"loose images of splits", "all", []string{"x.png", "train/a/1.png", "train/1.png", "test/a/1.png", "test/1.png"},
			[]int32{0, 0}, []string{"passed over images outside the folders: 3, x.png, train/1.png, test/1.png"}},
		{"valid", "test", []string{"train/a/1.png", "valid/a/1.png", "valid/b/1.png"}, []int32{0, 1}, nil},
		{"validation", "all", []string{"train/a/1.png", "validation/a/1.png"}, []int32{0, 0}, nil},
		{"test and val", "test", []string{"train/a/1.png", "test/a/1.png", "val/a/1.png", "val/a/2.png"}, []int32{0},
			[]string{"val is not read: the split test is test"}},
		{"test and val, all", "all", []string{"test/a/1.png", "val/a/1.png"}, []int32{0, 0}, nil},
		{"another folder", "", []string{"train/a/1.png", "docs/1.png", "test/1.png"}, []int32{0},
			[]string{"passed over folders that are no splits with classes: docs, test"}},
		{"no labels", "", []string{"train/1.png", "train/2.png", "test/1.png"}, []int32{-1, -1},
			[]string{"test, train have no folders of classes: they are splits without labels"}},
		{"no labels, all", "all", []string{"train/1.png", "val/1.png"}, []int32{-1, -1},
			[]string{"train, val have no folders of classes: they are splits without labels"}},
		{"classes", "", []string{"train/1.png", "test/1.png", "plane/1.png"}, []int32{0, 1, 2}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, file := range test.files {
				write(t, dir, file, pngFile(t, colourful(4)))
			}
			s := mustOpen(t, dir, Options{Split: test.split})
			equal(t, "labels", s.Labels, test.labels)
			equal(t, "remarks", s.Remarks, test.want)
			r, err := s.Summary(1)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "remarks of the summary", r.Remarks, test.want)
		})
	}
}

// hugePNG is a PNG file whose header promises pixels that are not there.
func hugePNG(width, height uint32) []byte {
	head := binary.BigEndian.AppendUint32([]byte("IHDR"), width)
	head = append(binary.BigEndian.AppendUint32(head, height), 8, 2, 0, 0, 0)
	file := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), 13)
	return binary.BigEndian.AppendUint32(append(file, head...), crc32.ChecksumIEEE(head))
}

func TestFolderMistakes(t *testing.T) {
	good := pngFile(t, colourful(4))
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"text":       {[]byte("not an image"), "not an image that can be read"},
		"empty":      {nil, "not an image that can be read"},
		"cut header": {good[:20], "image header: unexpected EOF"},
		"huge":       {hugePNG(1<<20, 1<<20), "image of 1048576x1048576 pixels"},
		"too large":  {hugePNG(10_001, 10_000), "image of 10000x10001 pixels"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "class/a.png", good)
			bad := filepath.Join("class", "b.png")
			write(t, dir, bad, c.file)
			write(t, dir, "class/c.png", good)
			wantError(t, dir, Options{}, bad, c.want)
			var warned []string
			s := mustOpen(t, dir, Options{Skip: true, Warn: func(err error) { warned = append(warned, err.Error()) }})
			equal(t, "images", pixels(t, s), [][]uint8{rgb(colourful(4)), rgb(colourful(4))})
			if len(warned) != 1 || !strings.Contains(warned[0], bad) || !strings.Contains(warned[0], c.want) {
				t.Errorf("warned of %q", warned)
			}
			mustOpen(t, dir, Options{Skip: true}) // nobody to warn
		})
	}
	sizes := t.TempDir() // no file is broken here, so none is skipped
	write(t, sizes, "class/a.png", good)
	write(t, sizes, "class/b.png", pngFile(t, colourful(5)))
	for _, skip := range []bool{false, true} {
		wantError(t, sizes, Options{Skip: skip}, "b.png: 5x5 pixels (height x width), those before have 4x4")
	}
	equal(t, "images of one size", mustOpen(t, sizes, Options{Size: 4}).Len(), 2)
	dir := t.TempDir()
	write(t, dir, "class/notes.txt", []byte("no image"))
	wantError(t, dir, Options{}, "no images", "passed over 1 file: 1 .txt")
	write(t, dir, "class/deeper/a.png", good)
	write(t, dir, "class/a.png", good)
	wantError(t, dir, Options{}, filepath.Join("class", "deeper"), "folder within a class")
	wide := t.TempDir()
	write(t, wide, "class/a.png", pngFile(t, image.NewGray(image.Rect(0, 0, 4, 2))))
	wantError(t, wide, Options{}, "2x4", "square")
	equal(t, "cropped to", pixels(t, mustOpen(t, wide, Options{Size: 2})), [][]uint8{make([]uint8, 12)})
	dangling := t.TempDir()
	write(t, dangling, "class/a.png", good)
	if os.Symlink("nowhere", filepath.Join(dangling, "class", "b.png")) == nil {
		wantError(t, dangling, Options{}, filepath.Join("class", "b.png"), "no such file")
	}
	linked := t.TempDir() // a class may be a link to a folder
	if os.Symlink(filepath.Join(dangling, "class"), filepath.Join(linked, "there")) == nil {
		equal(t, "classes", mustOpen(t, linked, Options{Skip: true}).Classes, []string{"there"})
	}
}

// TestBrokenBody is an image whose header is good: it shows when it is read.
func TestBrokenBody(t *testing.T) {
	dir := t.TempDir()
	whole := pngFile(t, colourful(4))
	write(t, dir, "class/a.png", whole)
	bad := filepath.Join("class", "b.png")
	write(t, dir, bad, whole[:len(whole)-20])
	write(t, dir, "class/c.png", hugePNG(4, 4))
	s := mustOpen(t, dir, Options{})
	err := s.Read(1, make([]float32, 48))
	if err == nil || !strings.Contains(err.Error(), bad+": decode image: png: invalid format: unexpected EOF") {
		t.Errorf("error %v", err)
	}
	if _, err := s.Stats(10); err == nil {
		t.Error("no error from Stats")
	}
	if _, err := s.Sheet(); err == nil {
		t.Error("no error from Sheet")
	}
	skipping := mustOpen(t, dir, Options{Skip: true})
	if r, err := skipping.Stats(10); err != nil || r.Images != 1 {
		t.Errorf("Stats: %+v, error %v, want those of 1 image", r, err)
	}
	if _, err := skipping.Sheet(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "class", "a.png")); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join("class", "a.png") + ": no such file"
	if _, err := s.Image(0); err == nil || !strings.Contains(err.Error(), gone) {
		t.Errorf("a file that is gone: error %v", err)
	}
}

// writeText writes a PNG file as generate does, with its index in it.
func writeText(t *testing.T, path string, m *Image, index string) {
	t.Helper()
	if err := raster.WritePNG(path, (*raster.Image)(m), raster.Text{Key: "index", Value: index}); err != nil {
		t.Fatal(err)
	}
}
