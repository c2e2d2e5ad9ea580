package output

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/shard"
)

// TestPrompts checks that archives and folders have the prompts of their images, and that parts,
// merged, are what one process writes.
func TestPrompts(t *testing.T) {
	run := testRun(5)
	run.Prompts, run.Names, run.Labels = true, []string{"a red heart", "木の家"}, true
	want := []string{"a red heart", "木の家", "a red heart", "木の家", "a red heart"}
	dir := t.TempDir()
	one, folder, parts := filepath.Join(dir, "one.npz"), filepath.Join(dir, "folder"), filepath.Join(dir, "parts")
	for _, path := range []string{one, folder} {
		s := openSink(t, path, run, false)
		for i := range want {
			add(t, s, i, 3)
		}
		finish(t, s)
		s.Close()
	}
	for _, span := range []shard.Span{{First: 3, End: 5}, {First: 0, End: 3}} {
		s, err := openPart(parts, run, Mode{}, PartOptions{Span: span})
		if err != nil {
			t.Fatal(err)
		}
		for i := span.First; i < span.End; i++ {
			add(t, s, i, 3)
		}
		finish(t, s)
		s.Close()
	}

	a, err := npz.Open(one)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	array, err := a.Array(npz.PromptsArray)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := npz.ReadText(array); err != nil || !slices.Equal(got, want) {
		t.Errorf("the archive has the prompts %q, error %v", got, err)
	}
	images, err := ReadFolder(folder)
	if err != nil || !slices.Equal(images.Evaluated().Prompts, want) {
		t.Errorf("the folder has the prompts %q, error %v", images.Prompts, err)
	}
	scanned, err := shard.Scan(parts)
	if err != nil {
		t.Fatal(err)
	}
	of, closeParts, err := PartImages(scanned.Runs[0], "another network")
	if err != nil {
		t.Fatal(err)
	}
	defer closeParts()
	if !slices.Equal(of.Prompts, want) || of.Labels != nil {
		t.Errorf("the parts have the prompts %q and labels %v", of.Prompts, of.Labels)
	}

	merged := filepath.Join(dir, "merged")
	for _, path := range []string{merged, merged + ".npz"} {
		if _, err := Merge(scanned.Runs[0], path, Mode{}); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, merged+".npz") != read(t, one) {
		t.Error("the merged archive differs")
	}
	got := contents(t, merged)
	for name, file := range contents(t, folder) {
		if got[name] != file {
			t.Errorf("%s differs in the merged folder", name)
		}
	}
}
