package output

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/raster"
)

func testRun(images int) Run {
	r := Run{
		Names:    []string{"tench, Tinca tinca", "goldfish"},
		Identity: "5eed",
		Texts:    []raster.Text{{Key: "seed", Value: "1"}, {Key: "steps", Value: "50"}},
	}
	for i := range images {
		r.Classes = append(r.Classes, i%2)
	}
	return r
}

// sample returns image i, which differs from the others.
func sample(i, channels int) *raster.Image {
	m := &raster.Image{Height: 4, Width: 4, Channels: channels, Pix: make([]uint8, 16*channels)}
	for j := range m.Pix {
		m.Pix[j] = uint8(10*i + j)
	}
	return m
}

func openSink(t *testing.T, path string, run Run, resume bool) Sink {
	t.Helper()
	s, err := Open(path, run, resume)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func add(t *testing.T, s Sink, i, channels int) {
	t.Helper()
	if err := s.Add(i, sample(i, channels)); err != nil {
		t.Fatal(err)
	}
}

func finish(t *testing.T, s Sink) []string {
	t.Helper()
	paths, err := s.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFolderResumes(t *testing.T) {
	for _, channels := range []int{1, 3} {
		whole, cut := t.TempDir(), t.TempDir()
		s := openSink(t, whole, testRun(4), false)
		for i := range 4 {
			add(t, s, i, channels)
		}
		finish(t, s)

		add(t, openSink(t, cut, testRun(4), false), 1, channels) // and then it was interrupted
		s = openSink(t, cut, testRun(4), true)
		for i := range 4 {
			if s.Have(i) != (i == 1) {
				t.Errorf("image %d: have %v", i, s.Have(i))
			}
			if !s.Have(i) {
				add(t, s, i, channels)
			}
		}
		finish(t, s)
		for _, name := range []string{"000000.png", "000001.png", "000003.png", "sheet.png"} {
			if read(t, filepath.Join(whole, name)) != read(t, filepath.Join(cut, name)) {
				t.Errorf("%d channels: %s of the resumed run differs", channels, name)
			}
		}
	}
}

func TestFolderOfAnotherRunIsRefused(t *testing.T) {
	dir := t.TempDir()
	add(t, openSink(t, dir, testRun(2), false), 0, 1)
	other := testRun(2)
	other.Identity = "07e5"
	other.Texts = []raster.Text{{Key: "seed", Value: "1"}, {Key: "steps", Value: "20"}}
	_, err := Open(dir, other, true)
	if err == nil || !strings.Contains(err.Error(), `its steps is "50", this run's is "20"`) {
		t.Errorf("error %v", err)
	}
	other.Texts = testRun(2).Texts
	_, err = Open(dir, other, true)
	want := `its content of the policy, the autoencoder or the noise is "5eed", this run's is "07e5"`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("described alike, of another identity: error %v, want %s", err, want)
	}
	renamed := testRun(2)
	renamed.Texts = other.Texts[:1]
	if s := openSink(t, dir, renamed, true); !s.Have(0) || s.Have(1) {
		t.Error("described differently, of the same identity: not resumed")
	}
	shifted := testRun(2)
	shifted.Classes = []int{1, 0}
	if _, err := Open(dir, shifted, true); err == nil || !strings.Contains(err.Error(), `its class is "0", this run's is "1"`) {
		t.Errorf("another class: error %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, "000000.png"), 60); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, testRun(2), true); err == nil || !strings.Contains(err.Error(), "000000.png") {
		t.Errorf("a file that is cut off: error %v", err)
	}
}

func TestTextsOfImages(t *testing.T) {
	dir := t.TempDir()
	add(t, openSink(t, dir, testRun(2), false), 1, 3)
	texts, err := raster.ReadTexts(filepath.Join(dir, "000001.png"))
	if err != nil {
		t.Fatal(err)
	}
	want := []raster.Text{
		{Key: "index", Value: "1"},
		{Key: "class", Value: "1"},
		{Key: "class name", Value: "goldfish"},
		{Key: "identity", Value: "5eed"},
		{Key: "seed", Value: "1"},
		{Key: "steps", Value: "50"},
	}
	if !slices.Equal(texts, want) {
		t.Errorf("texts %v, want %v", texts, want)
	}
}

func TestSheetPeriod(t *testing.T) {
	for _, test := range []struct {
		classes []int
		want    int
	}{
		{[]int{0, 1, 2, 0, 1, 2}, 3},
		{[]int{5, 5, 5}, 1},
		{[]int{0, 1, 2}, 3},
		{[]int{0, 1, 0, 0}, 0},
		{[]int{7}, 1},
		{[]int{0, 1, 0}, 2},
	} {
		t.Run(fmt.Sprint(test.classes), func(t *testing.T) {
			if got := newSheet(Run{Classes: test.classes}).period(); got != test.want {
				t.Errorf("period %d, want %d", got, test.want)
			}
		})
	}
}

func TestNPZResumes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.npz")
	s := openSink(t, path, testRun(3), false)
	add(t, s, 0, 3)
	add(t, s, 1, 3)
	s.Close()
	// The third image was being written.
	if err := os.Truncate(path+".partial", 2*48+7); err != nil {
		t.Fatal(err)
	}
	other := testRun(3)
	other.Identity = "07e5"
	if _, err := Open(path, other, true); err == nil || !strings.Contains(err.Error(), "another content of the policy") {
		t.Errorf("described alike, of another identity: error %v", err)
	}
	other.Texts = other.Texts[:1]
	other.Texts[0].Value = "2"
	if _, err := Open(path, other, true); err == nil || !strings.Contains(err.Error(), "another seed") {
		t.Errorf("another run's images: error %v", err)
	}
	s = openSink(t, path, testRun(3), true)
	if !s.Have(1) || s.Have(2) {
		t.Fatal("two whole images were there")
	}
	add(t, s, 2, 3)
	finish(t, s)
	a, err := npz.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	array, err := a.Array("arr_0")
	if err != nil {
		t.Fatal(err)
	}
	pixels, err := npz.Read[uint8](array)
	if err != nil {
		t.Fatal(err)
	}
	var want []uint8
	for i := range 3 {
		want = append(want, sample(i, 3).Pix...)
	}
	if !slices.Equal(array.Shape, []int{3, 4, 4, 3}) || !slices.Equal(pixels, want) {
		t.Errorf("shape %v, pixels %v", array.Shape, pixels)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKindsOfOutput(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "x.gif"), testRun(1), false)
	if err == nil || !strings.Contains(err.Error(), `unknown kind ".gif"`) {
		t.Errorf("error %v", err)
	}
	if _, err := Open(filepath.Join(dir, "x.png"), testRun(1), true); err == nil {
		t.Error("a sheet was resumed")
	}
	s := openSink(t, filepath.Join(dir, "one.png"), testRun(1), false)
	add(t, s, 0, 3)
	if paths := finish(t, s); !slices.Equal(paths, []string{filepath.Join(dir, "one.png")}) {
		t.Errorf("wrote %v", paths)
	}
	m, err := readPNG(filepath.Join(dir, "one.png"))
	if err != nil || !slices.Equal(m.Pix, sample(0, 3).Pix) {
		t.Errorf("a single image is not written as it is: %v", err)
	}
}
