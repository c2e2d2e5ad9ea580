package output

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/filelock"
	"github.com/tokencache/tokencache/internal/raster"
)

func testRun(images int) Run {
	r := Run{
		Height:   4,
		Width:    4,
		Channels: 3,
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
	s, err := Open(path, run, Mode{Resume: resume}, nil)
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

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// interrupted writes the images given of a run to path, and no more.
func interrupted(t *testing.T, path string, run Run, images ...int) {
	t.Helper()
	s := openSink(t, path, run, false)
	for _, i := range images {
		add(t, s, i, run.Channels)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// refuses checks that a run is not written to path, for an *ExistsError with the text given.
func refuses(t *testing.T, path string, run Run, mode Mode, text string) *ExistsError {
	t.Helper()
	s, err := Open(path, run, mode, nil)
	if err == nil {
		s.Close()
	}
	exists := (*ExistsError)(nil)
	if !errors.As(err, &exists) || !strings.Contains(err.Error(), text) {
		t.Fatalf("error %v, want an ExistsError with %q", err, text)
	}
	return exists
}

func TestFolderResumes(t *testing.T) {
	for _, channels := range []int{1, 3} {
		whole, cut := t.TempDir(), t.TempDir()
		run := testRun(4)
		run.Channels = channels
		s := openSink(t, whole, run, false)
		for i := range 4 {
			add(t, s, i, channels)
		}
		finish(t, s)
		s.Close()

		interrupted(t, cut, run, 1)
		s = openSink(t, cut, run, true)
		for i := range 4 {
			if s.Have(i) != (i == 1) {
				t.Errorf("image %d: have %v", i, s.Have(i))
			}
			if !s.Have(i) {
				add(t, s, i, channels)
			}
		}
		finish(t, s)
		s.Close()
		if got, want := contents(t, cut), contents(t, whole); !maps.Equal(got, want) {
			t.Errorf("%d channels: the resumed run's files differ: %d, want %d", channels, len(got), len(want))
		}
	}
}

// TestFolderKeepsRuns checks that a folder which holds a run, whole or in part, is resumed or
// refused, and never mixed.
func TestFolderKeepsRuns(t *testing.T) {
	dir := t.TempDir()
	interrupted(t, dir, testRun(3), 0, 2)
	if e := refuses(t, dir, testRun(3), Mode{}, "holds 2 of the 3 images of this run"); !e.Resumable {
		t.Error("an interrupted run is not said to be resumable")
	}
	s := openSink(t, dir, testRun(3), true)
	add(t, s, 1, 3)
	finish(t, s)
	s.Close()
	refuses(t, dir, testRun(3), Mode{}, "holds all images of this run already")
	before := contents(t, dir)
	s = openSink(t, dir, testRun(3), true)
	if !s.Complete() {
		t.Error("the whole run is not complete")
	}
	finish(t, s)
	s.Close()
	if !maps.Equal(before, contents(t, dir)) {
		t.Error("resuming a complete run changed it")
	}
	refuses(t, dir, testRun(2), Mode{Resume: true}, "holds image 2, of this run with more images than the 2 asked for")

	s = openSink(t, dir, testRun(4), true) // more images: the sheet is of fewer
	if s.Complete() || !s.Have(2) || s.Have(3) {
		t.Error("with one more image: want it alone to be missing")
	}
	s.Close()
	if _, err := os.Stat(filepath.Join(dir, "sheet.png")); err == nil {
		t.Error("the sheet of three images is kept next to the part of a run of four")
	}

	s, err := Open(dir, testRun(1), Mode{Overwrite: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if left := contents(t, dir); len(left) != 0 {
		t.Errorf("overwriting leaves %d files of the run before", len(left))
	}
}

func TestFolderOfAnotherRunIsRefused(t *testing.T) {
	dir := t.TempDir()
	interrupted(t, dir, testRun(2), 0)
	other := testRun(2)
	other.Identity = "07e5"
	other.Texts = []raster.Text{{Key: "seed", Value: "1"}, {Key: "steps", Value: "20"}}
	for _, mode := range []Mode{{}, {Resume: true}} {
		refuses(t, dir, other, mode, `its steps is "50", this run's is "20"`)
	}
	other.Texts = testRun(2).Texts
	refuses(t, dir, other, Mode{Resume: true},
		`its content of the policy, the autoencoder or the noise is "5eed", this run's is "07e5"`)
	renamed := testRun(2)
	renamed.Texts = other.Texts[:1]
	s := openSink(t, dir, renamed, true)
	if !s.Have(0) || s.Have(1) {
		t.Error("described differently, of the same identity: not resumed")
	}
	s.Close()
	shifted := testRun(2)
	shifted.Classes = []int{1, 0}
	refuses(t, dir, shifted, Mode{Resume: true}, `its class is "0", this run's is "1"`)
}

// TestForeignFiles checks that files which no run wrote are refused as such, with and without
// resuming, and replaced only if the user says so.
func TestForeignFiles(t *testing.T) {
	plain := func(path string) error {
		m, err := raster.New(4, 4, 3)
		if err != nil {
			return err
		}
		return raster.WritePNG(path, m)
	}
	text := func(path string) error { return os.WriteFile(path, []byte("important"), 0o644) }
	link := func(path string) error { return os.Symlink("nowhere", path) }
	const not = "is there already, and is not of this program's runs"
	for _, test := range []struct {
		out, file string // the file is in the folder of the output, or the output
		make      func(path string) error
		want      string
	}{
		{"own", "own/000001.png", text, not},
		{"own", "own/000007.png", text, not},
		{"own", "own/sheet.png", text, not},
		{"own", "own/sheet.png", plain, not},
		{"own", "own/000000.png", plain, not},
		{"own", "own/000000.png", link, "is not a file that this run wrote"},
		{"c.png", "c.png", text, not},
		{"c.png", "c.png", plain, not},
		{"c.png", "c.png", link, "is a link or a special file"},
		{"d.npz", "d.npz", text, "does not say of which run it is"},
		{"d.npz", "d.npz", link, "is a link or a special file"},
	} {
		t.Run(fmt.Sprintf("%s %s", test.file, test.want), func(t *testing.T) {
			dir := t.TempDir()
			path, file := filepath.Join(dir, test.out), filepath.Join(dir, test.file)
			if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := test.make(file); err != nil {
				t.Fatal(err)
			}
			for _, mode := range []Mode{{}, {Resume: true}} {
				if mode.Resume && test.out == "c.png" {
					continue // a sheet is never resumed
				}
				if e := refuses(t, path, testRun(2), mode, test.want); e.Resumable || e.Path != file {
					t.Errorf("%v: resumable %v, of %s; want an error about %s", mode, e.Resumable, e.Path, file)
				}
			}
			if _, err := os.Lstat(file); err != nil {
				t.Errorf("the file is gone: %v", err)
			}
			s, err := Open(path, testRun(2), Mode{Overwrite: true}, nil)
			if err != nil {
				t.Fatalf("with overwriting: %v", err)
			}
			s.Close()
		})
	}
}

// TestSheetIsKept checks that a finished sheet is not replaced unless the user says so.
func TestSheetIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.png")
	write := func(s Sink) {
		add(t, s, 0, 3)
		add(t, s, 1, 3)
		finish(t, s)
		s.Close()
	}
	write(openSink(t, path, testRun(2), false))
	before := read(t, path)
	other := testRun(2)
	other.Identity, other.Texts = "07e5", []raster.Text{{Key: "seed", Value: "2"}}
	refuses(t, path, other, Mode{}, `is of another run: its seed is "1", this run's is "2"`)
	refuses(t, path, testRun(2), Mode{}, "has images of this run already")
	if read(t, path) != before {
		t.Error("the sheet has changed")
	}
	s, err := Open(path, other, Mode{Overwrite: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if write(s); read(t, path) == before {
		t.Error("the sheet is not replaced with overwriting")
	}
}

// TestDamagedImages checks that images which are not whole, or of another size, are made again.
func TestDamagedImages(t *testing.T) {
	damage := map[string]func(path string) error{
		"cut off": func(path string) error { return os.Truncate(path, 60) },
		"zeroed":  func(path string) error { return os.WriteFile(path, make([]byte, 200), 0o644) },
		"empty":   func(path string) error { return os.Truncate(path, 0) },
		"of another size": func(path string) error {
			m, err := raster.New(9, 9, 3)
			if err != nil {
				return err
			}
			return raster.WritePNG(path, m, testRun(2).texts(0)...)
		},
	}
	for name, change := range damage {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			interrupted(t, dir, testRun(2), 0, 1)
			if err := change(filepath.Join(dir, "000000.png")); err != nil {
				t.Fatal(err)
			}
			s := openSink(t, dir, testRun(2), true)
			if s.Have(0) || !s.Have(1) || len(s.Remarks()) != 1 {
				t.Errorf("have %v and %v, remarks %q; want the second image alone and a remark",
					s.Have(0), s.Have(1), s.Remarks())
			}
		})
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
			if got := newSheet(Run{Classes: test.classes}, maxOnSheet).period(); got != test.want {
				t.Errorf("period %d, want %d", got, test.want)
			}
		})
	}
}

// TestOneWriter checks that an output in use is refused, and what a killed run left is swept.
func TestOneWriter(t *testing.T) {
	for _, name := range []string{"folder", "sheet.png", "samples.npz"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			first := openSink(t, path, testRun(2), false)
			held := (*filelock.HeldError)(nil)
			if _, err := Open(path, testRun(2), Mode{Resume: name != "sheet.png"}, nil); !errors.As(err, &held) {
				t.Errorf("a second writer: error %v, want a HeldError", err)
			}
			first.Close()
			dir, left := path, "000001.png"
			if name != "folder" {
				dir, left = filepath.Dir(path), name
			}
			if err := os.MkdirAll(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			foreign := filepath.Join(dir, ".mine.txt.5.tmp")
			for _, file := range []string{foreign, filepath.Join(dir, "."+left+".123.tmp")} {
				if err := os.WriteFile(file, nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			openSink(t, path, testRun(2), false).Close()
			if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 1 || left[0] != foreign {
				t.Errorf("left %v, want the file of another program alone", left)
			}
		})
	}
}

func TestNewFolder(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "out")
	for _, want := range []string{"0001", "0002"} {
		if dir, err := NewFolder(parent); err != nil || dir != filepath.Join(parent, want) {
			t.Errorf("got %s (%v), want %s", dir, err, want)
		}
	}
	if err := os.MkdirAll(filepath.Join(parent, "12345"), 0o777); err != nil {
		t.Fatal(err)
	}
	if dir, err := NewFolder(parent); err != nil || filepath.Base(dir) != "12346" {
		t.Errorf("got %s (%v), want 12346", dir, err)
	}
}

func TestKindOf(t *testing.T) {
	for path, want := range map[string]kind{
		"run1.5x":    kindFolder,
		"./v1.0":     kindFolder,
		".":          kindFolder,
		"a/b.c/d":    kindFolder,
		"x.png/":     kindFolder,
		"x.PNG":      kindSheet,
		"d.v2/x.npz": kindNPZ,
		"-":          kindStdout,
	} {
		t.Run(path, func(t *testing.T) {
			if got, err := kindOf(path); err != nil || got != want {
				t.Errorf("kind %d (%v), want %d", got, err, want)
			}
		})
	}
}

// TestSheetHoldsAll checks that a sheet on its own holds all images or is refused, and that a
// folder says what its sheet leaves out.
func TestSheetHoldsAll(t *testing.T) {
	const images = 130
	path := filepath.Join(t.TempDir(), "s.png")
	s := openSink(t, path, testRun(images), false)
	for i := range images {
		add(t, s, i, 3)
	}
	finish(t, s)
	m, err := readPNG(path)
	if err != nil {
		t.Fatal(err)
	}
	if tiles := (m.Height - 2) / 18 * ((m.Width - 2) / 18); tiles < images {
		t.Errorf("a sheet of %dx%d pixels has room for %d images, want %d", m.Height, m.Width, tiles, images)
	}
	_, err = Open(path, testRun(1_000_000), Mode{}, nil)
	if err == nil || !strings.Contains(err.Error(), "a sheet holds at most") {
		t.Errorf("a million images: error %v", err)
	}
	s = openSink(t, t.TempDir(), testRun(images), false)
	if r := s.Remarks(); len(r) != 1 || !strings.Contains(r[0], "the first 100 of the 130 images") {
		t.Errorf("remarks %q of a folder", r)
	}
}

func TestStdout(t *testing.T) {
	var out bytes.Buffer
	s, err := Open(Stdout, testRun(1), Mode{}, &out)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, 0, 3)
	finish(t, s)
	if texts, err := raster.DecodeTexts(&out); err != nil || len(texts) != len(testRun(1).texts(0)) {
		t.Errorf("texts %v (%v)", texts, err)
	}
}

func TestKindsOfOutput(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "x.gif"):       `unknown kind ".gif"`,
		filepath.Join(dir, "a\nb"):        `a\nb": want a name without control characters`,
		filepath.Join(dir, "\x1b[1m.npz"): "want a name without control characters",
		"/dev/stdout":                     "want - for standard output",
	} {
		if _, err := Open(path, testRun(1), Mode{}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", path, err, want)
		}
	}
	if _, err := Open(filepath.Join(dir, "x.png"), testRun(1), Mode{Resume: true}, nil); err == nil {
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
