package data

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokencache/tokencache/internal/raster"
)

// write makes a file in dir, and its folders.
func write(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(content []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(content)
	z.Close()
	return b.Bytes()
}

func mustOpen(t *testing.T, path string, o Options) *Set {
	t.Helper()
	s, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// wantError opens path and expects an error with all the words, the path among them.
func wantError(t *testing.T, path string, o Options, words ...string) {
	t.Helper()
	_, err := Open(t.Context(), path, o)
	if err == nil {
		t.Errorf("%s: no error, want %q", path, words)
		return
	}
	for _, word := range append(words, path) {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

// pixels returns the bytes of all images.
func pixels(t *testing.T, s *Set) (all [][]uint8) {
	t.Helper()
	for i := range s.Len() {
		m, err := s.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		if m.Height != s.Size || m.Width != s.Size || m.Channels != s.Channels {
			t.Fatalf("image %d is %dx%dx%d, want size %d and %d channels", i, m.Height, m.Width, m.Channels, s.Size, s.Channels)
		}
		all = append(all, m.Pix)
	}
	return all
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// gradient is n bytes that all differ from their neighbours.
func gradient(n, start int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(start + 7*i)
	}
	return b
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	for word, o := range map[string]Options{
		`unknown split "valid"`: {Split: "valid"},
		"size -1":               {Size: -1},
		"size 16385":            {Size: 16385},
		"2 channels":            {Channels: 2},
	} {
		t.Run(word, func(t *testing.T) { wantError(t, dir, o, word) })
	}
	wantError(t, filepath.Join(dir, "nothing"), Options{}, "no such file")
	wantError(t, dir, Options{}, "want a folder for each class")
	wantError(t, write(t, dir, "text", []byte("plain text")), Options{}, "neither IDX")
	wantError(t, write(t, dir, "short", nil), Options{}, "neither IDX")
}

// TestRead checks that samples are laid out in planes, in [-1,1], and are to the bit what
// raster.Sample makes of the bytes.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, write(t, dir, "a.bin", cifar10Record(3, 5)), Options{})
	got := make([]float32, 3*32*32)
	if err := s.Read(0, got); err != nil {
		t.Fatal(err)
	}
	for i, v := range cifar10Record(3, 5)[1:] {
		if want := float32(v)/127.5 - 1; got[i] != want {
			t.Fatalf("value %d is %v, want %v of byte %d", i, got[i], want, v)
		}
	}
	m, err := s.Image(0)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "sample of the bytes", (*raster.Image)(m).Sample(), got)
	for v, x := range sampleOf {
		if back := math.Round((float64(x) + 1) * 127.5); back != float64(v) || x < -1 || x > 1 {
			t.Errorf("byte %d gives %v", v, x)
		}
	}

	m.Pix[0]++ // the set's own must not change
	again, err := s.Image(0)
	if err != nil || again.Pix[0] == m.Pix[0] {
		t.Errorf("an image is shared with the set (error %v)", err)
	}
	for _, i := range []int{-1, 1} {
		if err := s.Read(i, got); err == nil || !strings.Contains(err.Error(), "of 1") {
			t.Errorf("image %d of 1: error %v", i, err)
		}
	}
	if err := s.Read(0, got[1:]); err == nil || !strings.Contains(err.Error(), "3072") {
		t.Errorf("room for one value too few: error %v", err)
	}
}

// TestFit checks that a size is reached by DiT's crop, after the conversion of the channels.
func TestFit(t *testing.T) {
	path := write(t, t.TempDir(), "a.bin", cifar10Record(3, 5))
	m, err := mustOpen(t, path, Options{}).Image(0)
	if err != nil {
		t.Fatal(err)
	}
	grey, err := withChannels(m, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 8, 31, 32, 33, 80} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			want, err := raster.CenterCrop((*raster.Image)(grey), size)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "cropped", pixels(t, mustOpen(t, path, Options{Size: size, Channels: 1})), [][]uint8{want.Pix})
		})
	}
}

func TestChannels(t *testing.T) {
	// What Pillow's convert("L") gives: sums of 19595 R + 38470 G + 7471 B, plus 32768, over 65536.
	for c, want := range map[[3]uint8]uint8{
		{255, 0, 0}: 76, {0, 255, 0}: 150, {0, 0, 255}: 29, {255, 255, 255}: 255, {10, 200, 30}: 124, {1, 2, 3}: 2,
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) { equal(t, "luma", luma(c[0], c[1], c[2]), want) })
	}
	grey := &Image{Height: 16, Width: 16, Channels: 1, Pix: gradient(256, 0)}
	rgb, err := withChannels(grey, 3)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "second pixel", rgb.Pix[3:6], []uint8{7, 7, 7})
	back, err := withChannels(rgb, 1)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "grey, RGB, grey", back, grey)
	if _, err := withChannels(&Image{Height: 1, Width: 1, Channels: 2, Pix: []uint8{1, 2}}, 3); err == nil {
		t.Error("two channels became three")
	}
}

func TestFlipHorizontal(t *testing.T) {
	x := []float32{1, 2, 3, 4, 5, 6, 7, 8}
	FlipHorizontal(x, 2, 2)
	equal(t, "flipped", x, []float32{2, 1, 4, 3, 6, 5, 8, 7})
	odd := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9}
	FlipHorizontal(odd, 1, 3)
	equal(t, "flipped, odd", odd, []float32{3, 2, 1, 6, 5, 4, 9, 8, 7})
}

// TestConcurrent reads every kind of source by several goroutines at once.
func TestConcurrent(t *testing.T) {
	for kind, s := range everyKind(t) {
		want := pixels(t, s)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range 3 * s.Len() {
					m, err := s.Image(i % s.Len())
					if err != nil || !bytes.Equal(m.Pix, want[i%s.Len()]) {
						t.Errorf("%s: image %d differs (error %v)", kind, i%s.Len(), err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// everyKind returns sets of all sources.
func everyKind(t *testing.T) map[string]*Set {
	t.Helper()
	idx, cifar, folder := t.TempDir(), t.TempDir(), t.TempDir()
	writeIDX(t, idx, "train", 4, "")
	write(t, cifar, "test_batch.bin", slices.Concat(cifar10Record(1, 2), cifar10Record(2, 3)))
	writeImages(t, folder, "")
	samples := writeNPZ(t, 5)
	large, err := openNPZ(samples, 1<<20, Options{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	large.ctx = t.Context()
	t.Cleanup(func() { large.Close() })
	return map[string]*Set{
		"IDX": mustOpen(t, idx, Options{}), "CIFAR-10": mustOpen(t, cifar, Options{Split: "test"}),
		"image folder": mustOpen(t, folder, Options{Size: 4}), "npz": mustOpen(t, samples, Options{}), "npz, large": large,
	}
}

func TestStats(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "train-images-idx3-ubyte", idxFile([]byte{0, 0, 0, 255, 0, 255, 255, 255}, 2, 2, 2))
	write(t, dir, "train-labels-idx1-ubyte", idxFile([]byte{0, 1}, 2))
	s := mustOpen(t, dir, Options{})
	near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-15 }
	for limit, want := range map[int]Stats{
		10: {Images: 2, Mean: 0.5, Std: 0.5},
		1:  {Images: 1, Mean: 0.25, Std: math.Sqrt(3) / 4},
		0:  {},
	} {
		got, err := s.Stats(limit)
		if err != nil || got.Images != want.Images || !near(got.Mean, want.Mean) || !near(got.Std, want.Std) {
			t.Errorf("at most %d images: %+v, error %v, want %+v", limit, got, err, want)
		}
	}
}

// TestContext checks that reading ends with the context, from every kind of source.
func TestContext(t *testing.T) {
	for kind, s := range everyKind(t) {
		t.Run(kind, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			s.ctx = ctx
			if _, err := s.Image(0); err != nil {
				t.Fatal(err)
			}
			end()
			if _, err := s.Image(0); !errors.Is(err, context.Canceled) {
				t.Errorf("Image: error %v", err)
			}
			if _, err := s.Stats(10); !errors.Is(err, context.Canceled) {
				t.Errorf("Stats: error %v", err)
			}
			if _, err := s.Sheet(); !errors.Is(err, context.Canceled) {
				t.Errorf("Sheet: error %v", err)
			}
		})
	}
	dir := t.TempDir()
	writeImages(t, dir, "")
	ctx, end := context.WithCancel(t.Context())
	end()
	if _, err := Open(ctx, dir, Options{Skip: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: error %v", err)
	}
}

// TestSheet makes sheets of all sources, and checks the place of every image of one.
func TestSheet(t *testing.T) {
	for kind, s := range everyKind(t) {
		if _, err := s.Sheet(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	s := mustOpen(t, writeNPZ(t, 13), Options{})
	s.Classes, s.Labels = nil, slices.Repeat([]int32{-1}, 13)
	m, err := s.Sheet()
	if err != nil {
		t.Fatal(err)
	}
	const side, gap = 8, 2 // images of 2 pixels are enlarged four times
	if m.Height != 2*(side+gap)+gap || m.Width != 10*(side+gap)+gap {
		t.Fatalf("sheet of %dx%d pixels", m.Height, m.Width)
	}
	at := func(row, column int) []uint8 {
		return m.Pix[((row*(side+gap)+gap)*m.Width+column*(side+gap)+gap)*3:][:3]
	}
	all := pixels(t, s)
	for i := range 20 {
		want := []uint8{255, 255, 255}
		if i < 13 {
			want = all[i][:3]
		}
		equal(t, "corner of an image", at(i/10, i%10), want)
	}

	wide := mustOpen(t, write(t, t.TempDir(), "a.bin", cifar10Record(3, 5)), Options{Size: 300})
	if m, err = wide.Sheet(); err != nil {
		t.Fatal(err)
	}
	if want := 10*(maxSheetSide+gap) + gap; m.Height != want {
		t.Errorf("sheet of 10 large images is %d pixels high, want %d", m.Height, want)
	}
}
