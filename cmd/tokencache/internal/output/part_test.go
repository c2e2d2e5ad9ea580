package output

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/filelock"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/shard"
)

// openTestPart opens the part of images 2 to 4 of a run of 6.
func openTestPart(t *testing.T, dir string, mode Mode) (*guardedSink, string) {
	t.Helper()
	s, err := openPart(dir, testRun(6), mode, PartOptions{Span: shard.Span{First: 2, End: 5}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	g := s.(*guardedSink)
	return g, g.Sink.(*partFile).gathered.path
}

// TestPart checks that a part that was interrupted goes on, that a whole one stays as it is, that a
// damaged one is made again, and that none is there before it is whole.
func TestPart(t *testing.T) {
	dir := t.TempDir()
	s, path := openTestPart(t, dir, Mode{})
	for i := range 6 {
		if want := i < 2 || i > 4; s.Have(i) != want {
			t.Errorf("image %d: have %v, want %v", i, !want, want)
		}
	}
	add(t, s, 4, 3)
	add(t, s, 2, 3)
	if _, err := s.Finish(); err == nil {
		t.Error("a part without one of its images: no error")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("an unfinished part is there")
	}
	if _, err := openPart(dir, testRun(6), Mode{}, PartOptions{Span: shard.Span{First: 2, End: 5}}); err == nil ||
		!errors.As(err, new(*filelock.HeldError)) {
		t.Errorf("a part that is being written: error %v", err)
	}
	if other, err := openPart(dir, testRun(6), Mode{}, PartOptions{Span: shard.Span{First: 5, End: 6}}); err != nil {
		t.Errorf("another part of the folder: error %v", err)
	} else if err := other.Close(); err != nil {
		t.Error(err)
	}
	s.Close()
	s, _ = openTestPart(t, dir, Mode{})
	if !s.Have(4) || !s.Have(2) || s.Have(3) {
		t.Error("what was finished is not gone on with")
	}
	add(t, s, 3, 3)
	finish(t, s)
	s.Close()
	whole := read(t, path)
	if s, _ = openTestPart(t, dir, Mode{}); !s.Complete() {
		t.Error("a whole part is not complete")
	}
	s.Close()
	if err := os.WriteFile(path, []byte(whole[:len(whole)/2]), 0o666); err != nil {
		t.Fatal(err)
	}
	s, _ = openTestPart(t, dir, Mode{})
	if s.Complete() || s.Have(3) {
		t.Error("a part cut short is complete")
	}
	for i := 4; i > 1; i-- {
		add(t, s, i, 3)
	}
	finish(t, s)
	s.Close()
	if read(t, path) != whole {
		t.Error("the part made again differs")
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 1 {
		t.Errorf("files %v, want the part alone", files)
	}
}

// TestPartFindings checks that what only generating shows is in the merged folder, also after an
// interruption.
func TestPartFindings(t *testing.T) {
	dir, run := t.TempDir(), testRun(2)
	found := raster.Text{Key: "checks", Value: "7"}
	mode, o := Mode{Findings: true}, PartOptions{Span: shard.Span{First: 0, End: 2}}
	for _, images := range []int{1, 2} {
		s, err := openPart(dir, run, mode, o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range images {
			if err := s.Add(i, sample(i, 3), found); err != nil {
				t.Fatal(err)
			}
		}
		if images == 2 {
			finish(t, s)
		}
		s.Close()
	}
	one, many := t.TempDir(), filepath.Join(t.TempDir(), "merged")
	s := openSink(t, one, run, false)
	for i := range 2 {
		if err := s.Add(i, sample(i, 3), found); err != nil {
			t.Fatal(err)
		}
	}
	finish(t, s)
	folder, err := shard.Scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(folder.Runs[0], many, Mode{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"000000.png", "000001.png", sheetName} {
		if read(t, filepath.Join(one, name)) != read(t, filepath.Join(many, name)) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestPartOutputs checks that a network is shown the pixels of the part.
func TestPartOutputs(t *testing.T) {
	failed := errors.New("no such network")
	o := PartOptions{Span: shard.Span{First: 1, End: 2}, Outputs: func(m eval.Images) (*eval.Part, error) {
		image, err := m.Image(0)
		if err != nil || m.Count != 1 || pixels(image).Pix[0] != sample(1, 3).Pix[0] {
			t.Errorf("%d images, %v, %v", m.Count, image, err)
		}
		return nil, failed
	}}
	s, err := openPart(t.TempDir(), testRun(2), Mode{}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	add(t, s, 1, 3)
	if _, err := s.Finish(); !errors.Is(err, failed) {
		t.Errorf("error %v, want %v", err, failed)
	}
}

// TestMergeOverOther checks that an archive of another run is neither replaced nor taken for this
// one.
func TestMergeOverOther(t *testing.T) {
	dir := t.TempDir()
	s, _ := openTestPart(t, dir, Mode{})
	for i := 2; i < 5; i++ {
		add(t, s, i, 3)
	}
	finish(t, s)
	for _, span := range []shard.Span{{First: 0, End: 2}, {First: 5, End: 6}} {
		s, err := openPart(dir, testRun(6), Mode{}, PartOptions{Span: span})
		if err != nil {
			t.Fatal(err)
		}
		for i := span.First; i < span.End; i++ {
			add(t, s, i, 3)
		}
		finish(t, s)
		s.Close()
	}
	folder, err := shard.Scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "s.npz")
	if err := os.WriteFile(out, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(folder.Runs[0], out, Mode{Resume: true}); !errors.As(err, new(*ExistsError)) ||
		!strings.Contains(err.Error(), out) {
		t.Errorf("error %v, want that there is another file", err)
	}
	if read(t, out) != "mine" {
		t.Error("the file was replaced")
	}
	if _, err := Merge(folder.Runs[0], out, Mode{Overwrite: true}); err != nil || read(t, out) == "mine" {
		t.Errorf("overwrite: error %v", err)
	}
}
