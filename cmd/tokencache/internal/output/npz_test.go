package output

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/raster"
)

func TestNPZResumes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.npz")
	interrupted(t, path, testRun(3), 0, 1)
	// The third image was being written.
	appendTo(t, path+".partial", make([]byte, 7))
	other := testRun(3)
	other.Identity = "07e5"
	for _, mode := range []Mode{{}, {Resume: true}} {
		refuses(t, path, other, mode, "its content of the policy")
	}
	other.Texts = []raster.Text{{Key: "seed", Value: "2"}}
	refuses(t, path, other, Mode{Resume: true}, `its seed is "1", this run's is "2"`)
	refuses(t, path, testRun(4), Mode{Resume: true}, "with other images, 3 in all")
	if e := refuses(t, path, testRun(3), Mode{}, "holds 2 of the 3 images of this run"); !e.Resumable {
		t.Error("an interrupted run is not said to be resumable")
	}
	s := openSink(t, path, testRun(3), true)
	if !s.Have(1) || s.Have(2) {
		t.Fatal("two whole images were there")
	}
	add(t, s, 2, 3)
	finish(t, s)
	s.Close()
	checkSamples(t, path, 3)
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}

	before := read(t, path)
	s = openSink(t, path, testRun(3), true)
	if !s.Complete() || !s.Have(2) {
		t.Error("the finished file is not complete")
	}
	finish(t, s)
	s.Close()
	if read(t, path) != before {
		t.Error("resuming a finished file changed it")
	}
	refuses(t, path, testRun(2), Mode{Resume: true}, "is of this run with other images")
	refuses(t, path, other, Mode{Resume: true}, `its seed is "1", this run's is "2"`)
	s = openSink(t, path, other, false) // a finished file is replaced when the new one is whole, not in silence
	if r := s.Remarks(); len(r) != 1 || !strings.Contains(r[0], `its seed is "1", this run's is "2": it is replaced`) {
		t.Errorf("remarks %q, want one that names what differs", r)
	}
	if s.Close(); read(t, path) != before {
		t.Error("a run without an image changed the file that was there")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("a run without an image left %v", left)
	}
}

func appendTo(t *testing.T, path string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
}

// checkSamples checks the images of a finished npz file.
func checkSamples(t *testing.T, path string, images int) {
	t.Helper()
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
	for i := range images {
		want = append(want, sample(i, 3).Pix...)
	}
	if !slices.Equal(array.Shape, []int{images, 4, 4, 3}) || !slices.Equal(pixels, want) {
		t.Errorf("shape %v, pixels %v", array.Shape, pixels)
	}
}

// TestDamagedPartial checks that what a crash of the system may leave of a partial file is noticed
// and made again.
func TestDamagedPartial(t *testing.T) {
	const record = 48 + sumBytes
	for _, test := range []struct {
		name   string
		offset int64
		bytes  []byte
		lost   []int
	}{
		{"the first image zeroed", 0, make([]byte, record), []int{0}},
		{"zeros over parts of two", record - 20, make([]byte, 40), []int{0, 1}},
		{"one bit", 2*record + 5, []byte{1}, []int{2}},
		{"a checksum", record + 50, []byte{1, 2, 3}, []int{1}},
		{"a record of another place", record, nil, []int{1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "samples.npz")
			interrupted(t, path, testRun(4), 0, 1, 2)
			if test.bytes == nil {
				test.bytes = []byte(read(t, path+".partial")[:record])
			}
			f, err := os.OpenFile(path+".partial", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(test.bytes, test.offset); err != nil {
				t.Fatal(err)
			}
			f.Close()
			s := openSink(t, path, testRun(4), true)
			for i := range 4 {
				if want := i < 3 && !slices.Contains(test.lost, i); s.Have(i) != want {
					t.Errorf("image %d: have %v, want %v", i, s.Have(i), want)
				}
				if !s.Have(i) {
					add(t, s, i, 3)
				}
			}
			finish(t, s)
			checkSamples(t, path, 4)
		})
	}
}

// TestDamagedState checks that without a description that can be read the checksums decide whose
// the partial file is.
func TestDamagedState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "samples.npz")
	interrupted(t, path, testRun(3), 0, 1)
	if err := os.WriteFile(path+".partial.json", make([]byte, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	other := testRun(3)
	other.Identity = "07e5"
	for _, mode := range []Mode{{}, {Resume: true}} {
		refuses(t, path, other, mode, "is damaged or of another run")
	}
	if s := openSink(t, path, testRun(3), true); !s.Have(0) || !s.Have(1) || s.Have(2) {
		t.Error("the run's own images are not taken over")
	}
}

// TestPartialLinks checks that nothing is written through a link.
func TestPartialLinks(t *testing.T) {
	for _, name := range []string{"s.npz.partial", "s.npz.partial.json", ".s.npz.lock", "s.npz"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			victim := filepath.Join(dir, "victim")
			if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(victim, filepath.Join(dir, name)); err != nil {
				t.Skip(err)
			}
			s, err := Open(filepath.Join(dir, "s.npz"), testRun(1), Mode{}, nil)
			if err == nil {
				s.Close()
			}
			if err == nil {
				t.Error("no error")
			}
			if read(t, victim) != "precious" {
				t.Error("what the link points to was written")
			}
		})
	}
}

// TestAbout checks what an npz file says of its run: the same on every machine.
func TestAbout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.npz")
	run := testRun(2)
	run.Labels = true
	s := openSink(t, path, run, false)
	add(t, s, 1, 3)
	add(t, s, 0, 3)
	finish(t, s)
	a, err := npz.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := a.About()
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "identity": "5eed",
 "images": 2,
 "classes": "XXX",
 "labels": true,
 "settings": {
  "seed": "1",
  "steps": "50"
 }
}
`
	want = strings.Replace(want, "XXX", run.about().Classes, 1)
	if string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
	other := testRun(2)
	other.Classes = []int{1, 0}
	if other.about().Classes == run.about().Classes {
		t.Error("other classes, the same hash")
	}
}

// TestNPZNeedsSpace checks that an archive larger than what is free is refused before an image is
// written, that nothing is left, and that what was there stays.
func TestNPZNeedsSpace(t *testing.T) {
	huge := testRun(1 << 20)
	huge.Height, huge.Width = 1<<12, 1<<12
	for name, there := range map[string]bool{"nothing there": false, "a finished archive there": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "samples.npz")
			before, files := "", 0
			if there {
				s := openSink(t, path, testRun(1), false)
				add(t, s, 0, 3)
				finish(t, s)
				s.Close()
				before, files = read(t, path), 1
			}
			s, err := Open(path, huge, Mode{Overwrite: there}, nil)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "are free") {
				t.Errorf("error %v, want one that names %s and the space that is free", err, path)
			}
			if there && read(t, path) != before {
				t.Error("the archive that was there has changed")
			}
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != files {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
