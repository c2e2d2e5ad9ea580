package shard

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/raster"
)

// testRun is a run of images of 2 x 2 pixels that cycle through three classes.
func testRun(images int) Run {
	return Run{
		Identity: "5eed",
		Images:   images,
		Classes:  ClassHash(classesOf(Span{0, images})),
		Labels:   true,
		Settings: map[string]string{"seed": "1", "cpu level": "avx2"},
	}
}

func classesOf(s Span) []int64 {
	var classes []int64
	for i := s.First; i < s.End; i++ {
		classes = append(classes, int64(i%3))
	}
	return classes
}

func pixelsOf(i int) []byte { return []byte{byte(i), byte(i >> 8), 7, byte(3 * i)} }

func partOf(run Run, s Span) *Part {
	return &Part{
		Run:      run,
		Span:     s,
		Height:   2,
		Width:    2,
		Channels: 1,
		Classes:  classesOf(s),
		Texts:    []raster.Text{{Key: "seed", Value: run.Settings["seed"]}},
	}
}

func write(t testing.TB, dir string, run Run, s Span) string {
	t.Helper()
	p := partOf(run, s)
	if err := p.Write(dir, func(i int) ([]byte, error) { return pixelsOf(s.First + i), nil }); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, p.Name())
}

// archive is the SHA-256 of what one process writes of a run.
func archive(t testing.TB, run Run) [32]byte {
	t.Helper()
	about, err := run.About()
	if err != nil {
		t.Fatal(err)
	}
	s := npz.Samples{
		Count:    run.Images,
		Height:   2,
		Width:    2,
		Channels: 1,
		Labels:   classesOf(Span{0, run.Images}),
		Image:    func(i int) ([]byte, error) { return pixelsOf(i), nil },
		About:    about,
	}
	path := filepath.Join(t.TempDir(), "one.npz")
	if err := s.Write(path); err != nil {
		t.Fatal(err)
	}
	return sumOf(t, path)
}

func sumOf(t testing.TB, path string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

// TestMerge checks that parts of any spans that hold all images, also of some twice, make the
// archive of one process, and that else exactly the missing images are named.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		run := testRun(rapid.IntRange(1, 60).Draw(r, "images"))
		have := make([]bool, run.Images)
		for range rapid.IntRange(1, 5).Draw(r, "parts") {
			first := rapid.IntRange(0, run.Images-1).Draw(r, "first")
			s := Span{first, rapid.IntRange(first+1, run.Images).Draw(r, "end")}
			write(t, dir, run, s)
			for i := s.First; i < s.End; i++ {
				have[i] = true
			}
		}
		folder, err := Scan(dir)
		if err != nil {
			r.Fatal(err)
		}
		var missing []Span
		for i, there := range have {
			switch n := len(missing); {
			case there:
			case n > 0 && missing[n-1].End == i:
				missing[n-1].End++
			default:
				missing = append(missing, Span{i, i + 1})
			}
		}
		parts, err := folder.Choose("")
		if incomplete := (*IncompleteError)(nil); errors.As(err, &incomplete) {
			if got := fmt.Sprint(incomplete.Missing); len(missing) == 0 || got != fmt.Sprint(missing) {
				r.Fatalf("missing %s, want %v", got, missing)
			}
			return
		}
		if err != nil || len(missing) > 0 {
			r.Fatalf("error %v, want that %v are missing", err, missing)
		}
		path := filepath.Join(dir, "merged.npz")
		if err := parts.WriteArchive(path); err != nil {
			r.Fatal(err)
		}
		if sumOf(t, path) != archive(t, run) {
			r.Fatal("the merged archive is not that of one process")
		}
	})
}

// TestOtherRuns checks that parts of other runs are named, with how they differ, and are not
// merged.
func TestOtherRuns(t *testing.T) {
	run := testRun(8)
	for _, test := range []struct {
		name   string
		change func(r *Run)
		want   string
	}{
		{"level", func(r *Run) {
			r.Identity, r.Settings = "0", map[string]string{"seed": "1", "cpu level": "generic"}
		}, `its cpu level is "generic", this run's "avx2"`},
		{"dtype", func(r *Run) {
			r.Identity, r.Settings = "0", map[string]string{"seed": "1", "cpu level": "avx2", "dtype": "bf16"}
		}, `its dtype is "bf16", this run's ""`},
		{"content", func(r *Run) { r.Identity = "0" }, "its identity (content of the policy"},
		{"images", func(r *Run) { r.Images = 9 }, "its number of images is 9, this run's 8"},
		{"classes", func(r *Run) { r.Classes = "0" }, "its list of classes is another"},
		{"labels", func(r *Run) { r.Labels = false }, "its having labels is false"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			other := run
			test.change(&other)
			write(t, dir, run, Span{0, 4})
			write(t, dir, run, Span{6, 8})
			write(t, dir, other, Span{4, 6})
			folder, err := Scan(dir)
			if err != nil {
				t.Fatal(err)
			}
			_, err = folder.Choose("")
			if err == nil || !strings.Contains(err.Error(), test.want) ||
				!strings.Contains(err.Error(), "2 of the run's 8 images are missing: images 4 to 5") {
				t.Errorf("error %v, want %s", err, test.want)
			}
			write(t, dir, run, Span{4, 6})
			if folder, err = Scan(dir); err != nil {
				t.Fatal(err)
			}
			parts, err := folder.Choose("")
			if err != nil || !parts.Run.Same(run) || len(folder.Foreign(parts)) != 1 {
				t.Errorf("%v, error %v: want this run, and the other one named", parts, err)
			}
		})
	}
}

// TestAmbiguous checks that of several whole runs one has to be named.
func TestAmbiguous(t *testing.T) {
	dir, a, b := t.TempDir(), testRun(4), testRun(4)
	b.Identity = "c0de"
	write(t, dir, a, Span{0, 4})
	write(t, dir, b, Span{0, 4})
	folder, err := Scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Choose(""); err == nil || !strings.Contains(err.Error(), "there are 2 whole runs") {
		t.Errorf("error %v", err)
	}
	if parts, err := folder.Choose("c0"); err != nil || parts.Run.Identity != "c0de" {
		t.Errorf("%v, error %v", parts, err)
	}
	if _, err := folder.Choose("ff"); err == nil {
		t.Error("a run that is not there: no error")
	}
}

// TestDamage changes every byte of a part in turn: it is never merged as another image.
func TestDamage(t *testing.T) {
	dir, run := t.TempDir(), testRun(5)
	write(t, dir, run, Span{0, 2})
	path := write(t, dir, run, Span{2, 5})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, merged := archive(t, run), filepath.Join(t.TempDir(), "merged.npz")
	caught := 0
	for i := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[i] ^= 0x21
		if err := os.WriteFile(path, damaged, 0o666); err != nil {
			t.Fatal(err)
		}
		if Verify(path) != nil {
			caught++
			continue
		}
		folder, err := Scan(dir)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := folder.Choose("")
		if err != nil {
			continue // it says to be of another run
		}
		if err := parts.WriteArchive(merged); err != nil {
			continue
		}
		if sumOf(t, merged) != want {
			t.Fatalf("byte %d of %d: the damage is in the merged archive", i, len(whole))
		}
	}
	t.Logf("%d of %d changes of a byte were noticed, the others change nothing that is merged", caught, len(whole))
	if caught < len(whole)/2 {
		t.Errorf("%d of %d changes of a byte were noticed", caught, len(whole))
	}
	for _, cut := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(path, whole[:cut], 0o666); err != nil {
			t.Fatal(err)
		}
		folder, err := Scan(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := folder.Choose(""); err == nil || len(folder.Damaged) != 1 ||
			!strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("cut to %d bytes: error %v, want one that names the part", cut, err)
		}
	}
}

// TestRenamed checks that a part under another's name is not taken for it.
func TestRenamed(t *testing.T) {
	dir, run := t.TempDir(), testRun(6)
	a, b := write(t, dir, run, Span{0, 3}), write(t, dir, run, Span{3, 6})
	if err := os.Rename(a, b); err != nil {
		t.Fatal(err)
	}
	folder, err := Scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(folder.Damaged) != 1 || !strings.Contains(folder.Damaged[0].Error(), "its name is not that of what it holds") {
		t.Errorf("damaged: %v", folder.Damaged)
	}
}

// TestReader reads images of two parts in any order.
func TestReader(t *testing.T) {
	dir, run := t.TempDir(), testRun(7)
	write(t, dir, run, Span{0, 4})
	write(t, dir, run, Span{4, 7})
	folder, err := Scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := folder.Runs[0].NewReader()
	defer r.Close()
	for _, i := range []int{6, 0, 3, 4, 1} {
		m, err := r.Image(i)
		if err != nil || string(m.Pix) != string(pixelsOf(i)) {
			t.Errorf("image %d: %v, %v", i, m, err)
		}
	}
	if _, err := r.Image(7); err == nil {
		t.Error("an image beyond the last: no error")
	}
}
