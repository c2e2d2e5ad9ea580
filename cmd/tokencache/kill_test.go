//go:build linux || darwin

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestKilled kills generate with SIGKILL at random moments, again and again, and completes it with
// --resume: the files are then those of a run that was not disturbed, bit for bit, and no others.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the program some dozens of times")
	}
	const kills = 15 // of each kind of output
	for _, name := range []string{"images", "samples.npz"} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			want := generated(t, t.TempDir(), name, 0)
			whole := time.Since(start)
			random := rand.New(rand.NewPCG(1, 2))
			for dir, killed := t.TempDir(), 0; killed < kills; dir = t.TempDir() {
				for killed < kills {
					after := max(1, time.Duration(random.Float64()*float64(whole)))
					if generated(t, dir, name, after) != nil {
						break
					}
					killed++
				}
				got := generated(t, dir, name, 0)
				if len(got) != len(want) {
					t.Fatalf("after %d kills: files %v, want %v", killed, names(got), names(want))
				}
				for file, b := range want {
					if !bytes.Equal(got[file], b) {
						t.Fatalf("after %d kills: %s differs", killed, file)
					}
				}
			}
		})
	}
}

// generated runs generate in dir, with --resume, and returns the files in dir. Unless after is 0 it
// kills the program then, and returns nil if it was not done.
func generated(t *testing.T, dir, name string, after time.Duration) map[string][]byte {
	t.Helper()
	models, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("tokencache", "generate", "--model", filepath.Join(models, "dit-tiny"),
		"--vae", filepath.Join(models, "vae-tiny"), "--count", "24", "--steps", "2", "--seed", "1",
		"--out", filepath.Join(dir, name), "--resume")
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if after > 0 {
		defer time.AfterFunc(after, func() { _ = c.Process.Kill() }).Stop()
	}
	if err := c.Wait(); err != nil {
		exit := (*exec.ExitError)(nil)
		if after > 0 && errors.As(err, &exit) && exit.ExitCode() < 0 {
			return nil
		}
		t.Fatalf("%v: %s", err, said.String())
	}
	files := map[string][]byte{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[strings.TrimPrefix(path, dir)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
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
