package comparison

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// far is workers in this process, each with a model of its own.
type far struct {
	*testing.T
	options  Options
	measured int
	did      []string // tasks
	mu       sync.Mutex
}

// remote has three workers do the tasks, the last first.
func (f *far) remote(ctx context.Context, of string, tasks []json.RawMessage,
	take func(int, []byte, error) error) error {
	next := make(chan int, len(tasks))
	for i := range tasks {
		next <- len(tasks) - 1 - i
	}
	close(next)
	var wait sync.WaitGroup
	var errs []error
	for range 3 {
		o := f.options
		o.Dir, o.Pipeline = f.TempDir(), tiny(f.T)
		w, err := NewWorker(o, f.measured)
		if err != nil {
			return err
		}
		if err := w.Check(of); err != nil {
			return err
		}
		wait.Go(func() {
			for i := range next {
				result, failed := w.Do(ctx, of, tasks[i])
				f.mu.Lock()
				f.did = append(f.did, string(tasks[i]))
				errs = append(errs, take(i, result, failed))
				f.mu.Unlock()
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// timeless matches fields that a clock decides, and the folder's own name.
var timeless = regexp.MustCompile(`"(wall_s|uncached_wall_s|speedup|denoise_s|decode_s|load|disturbed|repeat|` +
	`untimed|ms|seconds|step_ms|uncached_step_ms)": ?(\[[^]]*\]|"[^"]*"|[^,\n}]*),?`)

// withoutTime returns the files of a folder, of JSON without what a clock decides.
func withoutTime(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if filepath.Ext(path) == ".json" {
			b = timeless.ReplaceAll(b, nil)
			b = bytes.Join(bytes.Fields(b), nil)
			b = bytes.ReplaceAll(b, []byte(",}"), []byte("}"))
		}
		files[strings.TrimPrefix(path, dir)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// checkEqual checks that two folders have the same files.
func checkEqual(t *testing.T, got, want map[string]string) {
	t.Helper()
	if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		t.Errorf("files %v, want %v", g, w)
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s differs: %.1000q, want %.1000q", name, got[name], text)
		}
	}
}

// remoteOptions are of a comparison on a small model.
func remoteOptions(t *testing.T) Options {
	return Options{
		Dir:      t.TempDir(),
		Pipeline: tiny(t),
		Sampling: diffusion.Sampling{Sampler: "ddim", Steps: 4, Guidance: 1.5}.WithDefaults(),
		Seed:     DefaultSeed,
		Batch:    2,
		Policies: []string{"steps=2", "taylorseer:n=2,order=1", "fora:n=2"},
		Speeds:   []float64{2},
		Count:    6,
		Timed:    4,
		Repeat:   2,
		Open:     func(text string) (reuse.Policy, error) { return reuse.Parse(text) },
	}
}

// TestRemote checks that a comparison whose images three workers make has the files and the results
// of one that is made here, bit for bit, but for what a clock says; and that --retime adds that.
func TestRemote(t *testing.T) {
	local, spread := remoteOptions(t), remoteOptions(t)
	want, err := Run(t.Context(), local)
	if err != nil {
		t.Fatal(err)
	}
	f := &far{T: t, options: spread}
	spread.Remote = f.remote
	got, err := Run(t.Context(), spread)
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, withoutTime(t, spread.Dir), withoutTime(t, local.Dir))
	checkCells(t, got, want)
	for i := range got.Cells {
		cell := &got.Cells[i]
		if timed := cell.Method == report.Uncached; cell.Untimed == timed || (cell.Speedup == 0) == timed {
			t.Errorf("%s: untimed %v, a speed of %g", cell.Summary(), cell.Untimed, cell.Speedup)
		}
	}
	if len(f.did) != 3*2+1+1 { // of policies in two files, uncached, converged
		t.Errorf("%d tasks: %v", len(f.did), f.did)
	}

	// Once more there is nothing to do; and with Retime the time is measured here.
	f.did = nil
	spread.Retime = true
	if got, err = Run(t.Context(), spread); err != nil {
		t.Fatal(err)
	}
	if len(f.did) > 0 {
		t.Errorf("tasks %v were done again", f.did)
	}
	checkCells(t, got, want)
	for _, cell := range got.Cells {
		if cell.Untimed || !(cell.Speedup > 0) {
			t.Errorf("%s: want a time", cell.Summary())
		}
	}
}

// checkCells checks that cells are the same but for what a clock says.
func checkCells(t *testing.T, got, want *Result) {
	t.Helper()
	text := func(r *Result) string {
		b, err := json.Marshal(r.Cells)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(timeless.ReplaceAll(b, nil)), ",}", "}")
	}
	if g, w := text(got), text(want); g != w {
		t.Errorf("cells %s, want %s", g, w)
	}
}

// TestMissing checks which tasks bring a result to a number of images: those of the files in which
// one process keeps them.
func TestMissing(t *testing.T) {
	for _, c := range []struct {
		name         string
		have, count  int
		counted      bool
		want         []int // from, to of each
		wantsCounted bool
	}{
		{"new", 0, 2*chunkImages + 6, true, []int{0, 4, 4, 104, 104, 204, 204, 206}, true},
		{"uncached", 0, chunkImages + 6, false, []int{0, 100, 100, 106}, false},
		{"few", 0, 3, true, []int{0, 4}, true},
		{"more", 5, 9, false, []int{5, 9}, false},
		{"all", 5, 5, false, nil, false},
		{"not counted yet", 5, 9, true, []int{0, 4, 5, 9}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &result{dir: t.TempDir()}
			if c.have > 0 {
				images := make([]tokencache.Image, c.have)
				for i := range images {
					images[i] = tokencache.Image{Height: 1, Width: 1, Channels: 1, Pixels: []byte{1}}
				}
				if err := d.write(0, images); err != nil {
					t.Fatal(err)
				}
			}
			r := &runner{Options: Options{Timed: 4}}
			w, err := r.missing(run{}, d, c.count, c.counted)
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for i, task := range w.tasks {
				got = append(got, task.From, task.To)
				if task.Counted != (c.wantsCounted && i == 0) {
					t.Errorf("task %+v", task)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("tasks %v, want %v", got, c.want)
			}
		})
	}
}

// TestRemoteFails checks that a run which fails on workers fails alone, with its cause, and that
// workers with other options do no task.
func TestRemoteFails(t *testing.T) {
	o := remoteOptions(t)
	o.Count, o.Timed, o.Repeat = 3, 2, 1
	f := &far{T: t, options: o}
	f.options.Open = func(text string) (reuse.Policy, error) {
		if strings.HasPrefix(text, "fora") {
			return nil, errors.New("no such policy here")
		}
		return reuse.Parse(text)
	}
	o.Remote = f.remote
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	failed := r.Failed()
	if len(failed) != 1 || failed[0].Policy != "fora:n=2" || failed[0].Error != "no such policy here" {
		t.Errorf("failed: %+v", failed)
	}
	other := o
	other.Dir, other.Seed = t.TempDir(), 77
	w, err := NewWorker(other, 0)
	if err != nil {
		t.Fatal(err)
	}
	if o.Subjects, err = o.Pipeline.SubjectsOr(nil); err != nil {
		t.Fatal(err)
	}
	key := (&runner{Options: o}).key(o.Pipeline)
	if err := w.Check(key); err == nil || !strings.Contains(err.Error(), "it would make other images") {
		t.Errorf("a worker with another seed: error %v", err)
	}
	if _, err := w.Do(t.Context(), key, json.RawMessage(`{}`)); err == nil {
		t.Error("a worker with another seed did a task")
	}
}

// TestRemoteSearch checks that a search by operations has the same answer with workers.
func TestRemoteSearch(t *testing.T) {
	var winners []*Winner
	var folders []map[string]string
	for _, spread := range []bool{false, true} {
		o := searchOptions(t, "fora", "taylorseer")
		if spread {
			f := &far{T: t, options: o, measured: unseenImages}
			o.Remote = f.remote
		}
		w, _ := searching(t, o, "psnr>=20", AgainstUncached)
		if w.Policy == nil {
			t.Fatalf("no policy; missed: %v", w.Missed)
		}
		winners = append(winners, w)
		folders = append(folders, withoutTime(t, filepath.Join(o.Dir, searchFolder, cellsFolder)))
	}
	if got, want := winners[1].Tried, winners[0].Tried; !slices.Equal(got, want) { // the answer is the clock's
		t.Errorf("with workers tried %v, want %v", got, want)
	}
	checkEqual(t, folders[1], folders[0])
}
