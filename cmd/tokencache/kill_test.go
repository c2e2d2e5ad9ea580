//go:build linux || darwin

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// kills is how often each run of TestKilled is killed. bench/kills runs it with many.
var kills = flag.Int("kills", 0, "how often TestKilled kills each run; 0: as often as suits go test")

// killedRun is a run of the program that is killed and completed.
type killedRun struct {
	name     string
	args     []string // --out follows
	out      string   // below the folder of the test
	resumed  []string // in place of args, once the file resumeIf is there; nil: never
	resumeIf string
	kills    int    // in go test
	timed    string // files whose content shows how long something took, as a regular expression
}

// killedRuns returns a run of each verb that works long, on small models.
func killedRuns(t *testing.T) []killedRun {
	t.Helper()
	models, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	model := []string{"--model", filepath.Join(models, "dit-tiny"), "--vae", filepath.Join(models, "vae-tiny")}
	with := func(verb string, args string) []string {
		return slices.Concat([]string{verb}, model, strings.Fields(args))
	}
	images := slices.Clip(with("generate", "--count 24 --steps 2 --seed 1 --resume"))
	return []killedRun{
		{name: "images", args: images, out: "images", kills: 6},
		{name: "npz", args: images, out: "samples.npz", kills: 6},
		{name: "part", args: append(images, "--shard", "2/2"), out: "parts", kills: 4},
		{
			name: "train",
			args: append([]string{"train", "--data", classFolders(t)},
				strings.Fields("--steps 10 --batch 4 --channels 1 --width 16 --depth 1 --heads 1 --save-every 1ms")...),
			out:      "run",
			resumed:  []string{"train", "--save-every", "1ms", "--resume"},
			resumeIf: "state.safetensors",
			kills:    2,
		},
		{
			name:  "calibrate",
			args:  with("calibrate", "--steps 4 --ratio 0.5 --policy importance=dynamic,k=2 --images 2 --updates 3 --batch 2 --measure 1"),
			out:   "policy",
			kills: 2,
		},
		{
			name:  "compare",
			args:  with("compare", "--policies fora:n=2 --count 3 --timed 1 --repeat 1 --steps 3"),
			out:   "comparison",
			kills: 2,
			timed: `/(frontier-.*|pareto.*|memory|step-time|report|results|tables|sheet)\.(png|svg|html|csv|md)$`,
		},
	}
}

// classFolders returns a data set of two classes with four images each.
func classFolders(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 8 {
		m := image.NewGray(image.Rect(0, 0, 8, 8))
		for p := range m.Pix {
			m.Pix[p] = color.Gray{Y: uint8(31*i + 7*p)}.Y
		}
		path := filepath.Join(dir, string(rune('a'+i%2)), fmt.Sprint(i)+".png")
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := errors.Join(png.Encode(&b, m), os.WriteFile(path, b.Bytes(), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestKilled kills runs with SIGKILL at random moments, and then at system calls, and completes them:
// the files are those of a run that was not disturbed, bit for bit, and no others.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program some dozens of times")
	}
	for _, run := range killedRuns(t) {
		t.Run(run.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			want := run.complete(t, t.TempDir())
			run.atMoments(t, want, time.Since(start))
			run.atCalls(t, want)
		})
	}
}

// atMoments kills the run at random moments of the time that it takes whole.
func (r *killedRun) atMoments(t *testing.T, want map[string][]byte, whole time.Duration) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	moments, folders := r.kills, 0
	if *kills > 0 {
		moments = *kills
	}
	for killed := 0; killed < moments; folders++ {
		dir := t.TempDir()
		for killed < moments && r.killed(t, dir, max(1, time.Duration(random.Float64()*float64(whole)))) {
			killed++
		}
		checkFiles(t, r.complete(t, dir), want, fmt.Sprintf("after %d kills", killed))
	}
	t.Logf("%s: killed at %d moments, in %d folders", r.name, moments, folders)
}

// atCalls kills the run at system calls: as a file is brought onto the disk, gets its name, or is
// removed. It needs strace. In go test it tries the first of two kinds alone.
func (r *killedRun) atCalls(t *testing.T, want map[string][]byte) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err == nil {
		err = exec.Command(strace, "-qq", "-o", os.DevNull, "true").Run()
	}
	if err != nil {
		t.Logf("not killed at system calls: %v", err)
		return
	}
	calls, most := []string{"fsync", "renameat"}, 1
	if *kills > 0 {
		calls, most = append(calls, "unlinkat"), *kills
	}
	for _, call := range calls {
		n := 0
		for ; n < most; n++ {
			dir := t.TempDir()
			inject := fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n+1)
			c := r.command(dir, strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call, "-e", inject)
			out, err := c.CombinedOutput()
			if err == nil {
				break // there are no more such calls
			}
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() > 0 {
				t.Fatalf("%v: %s", err, out)
			}
			checkFiles(t, r.complete(t, dir), want, fmt.Sprintf("killed at %s %d", call, n+1))
		}
		t.Logf("%s: killed at the first %d calls of %s", r.name, n, call)
	}
}

// command is the run in dir, begun or continued, under another command if one is given.
func (r *killedRun) command(dir string, under ...string) *exec.Cmd {
	out := filepath.Join(dir, r.out)
	args := r.args
	if r.resumed != nil {
		if _, err := os.Lstat(filepath.Join(out, r.resumeIf)); err == nil {
			args = r.resumed
		}
	}
	line := slices.Concat(under, []string{"tokencache"}, args, []string{"--out", out})
	return exec.Command(line[0], line[1:]...)
}

// killed runs in dir, kills the program after a time, and reports whether it was not done by then.
func (r *killedRun) killed(t *testing.T, dir string, after time.Duration) bool {
	t.Helper()
	c := r.command(dir)
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(after, func() { _ = c.Process.Kill() }).Stop()
	err := c.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() < 0 {
		return true
	}
	if err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	return false
}

// complete runs in dir to the end, unless the run is finished already, and returns the files in dir
// without what is of time.
func (r *killedRun) complete(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out, err := r.command(dir).CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("holds a finished policy")) {
		t.Fatalf("%v: %s", err, out)
	}
	files := map[string][]byte{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir)] = r.withoutTime(path, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// withoutTime returns a file without the fields that say how long something took; of those that are
// timed it returns nothing.
func (r *killedRun) withoutTime(name string, content []byte) []byte {
	switch {
	case r.timed != "" && regexp.MustCompile(r.timed).MatchString(name):
		return nil
	case filepath.Ext(name) != ".json" && filepath.Ext(name) != ".jsonl":
		return content
	}
	var values []any
	d := json.NewDecoder(bytes.NewReader(content))
	for {
		var v any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return content
		}
		values = append(values, timeless(v))
	}
	b, err := json.Marshal(values)
	if err != nil {
		return content
	}
	return b
}

var fieldOfTime = regexp.MustCompile(`(^|_)(s|ms|seconds|time|wall|speedup|load|disturbed|command|out)(_|$)`)

// timeless drops fields of time, and the command line, which names the output.
func timeless(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if v[key] = timeless(value); fieldOfTime.MatchString(key) {
				delete(v, key)
			}
		}
	case []any:
		for i := range v {
			v[i] = timeless(v[i])
		}
	}
	return v
}

// checkFiles checks that the files are those wanted, and no others.
func checkFiles(t *testing.T, got, want map[string][]byte, when string) {
	t.Helper()
	if g, w := names(got), names(want); !slices.Equal(g, w) {
		t.Fatalf("%s: files %v, want %v", when, g, w)
	}
	for file, b := range want {
		if !bytes.Equal(got[file], b) {
			t.Fatalf("%s: %s differs: %.2000q, want %.2000q", when, file, got[file], b)
		}
	}
}

// names are the sorted names of files.
func names(files map[string][]byte) []string {
	var list []string
	for name := range files {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
