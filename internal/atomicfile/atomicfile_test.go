package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestWriteReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, want := range []string{"first", "second"} {
		if err := Write(path, func(w io.Writer) error { _, err := io.WriteString(w, want); return err }); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Fatalf("read %q, %v; want %q", got, err, want)
		}
	}
}

func TestFailureKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	err := Write(path, func(w io.Writer) error {
		if _, err := io.WriteString(w, "new"); err != nil {
			return err
		}
		return full
	})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v: want one that wraps %v and names %s", err, full, path)
	}
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("file holds %q, want the old content", got)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("folder holds %d files, want 1: the temporary file was left", len(names))
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".a.png.123.tmp", ".b.png.123.tmp", ".a.png.x.tmp", "a.png", ".a.png.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir, func(name string) bool { return name == "a.png" }); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got, want := strings.Join(left, " "), ".a.png.tmp .a.png.x.tmp .b.png.123.tmp a.png"; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
}

// TestSweepKnowsOwnFiles checks that what a killed Write leaves is what Sweep removes.
func TestSweepKnowsOwnFiles(t *testing.T) {
	dir := t.TempDir()
	f, err := createTemp(filepath.Join(dir, "x.npz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Sweep(dir, func(name string) bool { return name == "x.npz" }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(f.Name()); err != nil && runtime.GOOS == "linux" {
		t.Errorf("a file that is being written: %v", err)
	}
	f.Close()
	if err := Sweep(dir, func(name string) bool { return name == "x.npz" }); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left %v", entries)
	}
}

// TestPrepareSweeps checks that what was left of a file goes when it is to be written again, and
// what was left of others stays.
func TestPrepareSweeps(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".a.png.1.tmp", ".b.png.1.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Prepare(filepath.Join(dir, "a.png")); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || entries[0].Name() != ".b.png.1.tmp" {
		t.Errorf("left %v, want what is of b.png alone", entries)
	}
}

func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "folder", "x.png")
	if err := Prepare(path); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
		t.Errorf("the folder holds %v (%v), want nothing", entries, err)
	}
	if err := Prepare(filepath.Join(dir, "new")); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder in the place of the file: error %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(file, "x.png"), filepath.Join(file, "a", "b", "x.png")} {
		if err := Prepare(path); err == nil || err.Error() != file+": is a file, want the name of a folder" {
			t.Errorf("a file in the place of a folder: error %v", err)
		}
	}
}

// TestLinks checks that a link in the place of a file is replaced by Write and refused by
// OpenRegular, and that nothing is written to what it points to.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	victim, link := filepath.Join(dir, "victim"), filepath.Join(dir, "link")
	if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, link); err != nil {
		t.Skip(err)
	}
	if f, err := OpenRegular(link); err == nil {
		f.Close()
		t.Error("OpenRegular followed a link")
	}
	if err := Write(link, func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(victim); string(b) != "precious" {
		t.Errorf("what the link pointed to holds %q", b)
	}
	if info, err := os.Lstat(link); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the link is not replaced: %v", err)
	}
}

func TestCheckSpace(t *testing.T) {
	dir := t.TempDir()
	if _, ok := freeSpace(dir); !ok {
		t.Skip("this system does not say how much is free")
	}
	if err := CheckSpace(dir, 1); err != nil {
		t.Error(err)
	}
	if err := CheckSpace(dir, 1<<62); err == nil || !strings.Contains(err.Error(), "are free") {
		t.Errorf("more than there can be: error %v", err)
	}
}
