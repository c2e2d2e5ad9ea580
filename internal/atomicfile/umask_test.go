//go:build linux || darwin || freebsd

package atomicfile

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUmask(t *testing.T) {
	for _, mask := range []int{0o022, 0o077, 0o002} {
		path := filepath.Join(t.TempDir(), "f")
		before := unix.Umask(mask)
		err := Write(path, func(io.Writer) error { return nil })
		unix.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := os.FileMode(0o666 &^ mask); info.Mode().Perm() != want {
			t.Errorf("umask %03o: permissions %v, want %v", mask, info.Mode().Perm(), want)
		}
	}
}
