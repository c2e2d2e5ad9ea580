//go:build linux || darwin || freebsd

package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const noFollow = unix.O_NOFOLLOW

// lock locks a file until it is closed. On a file system without locks it does nothing.
func lock(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// inUse reports whether the file at path is locked.
func inUse(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// freeSpace returns the bytes that are free to the user in the file system of dir.
func freeSpace(dir string) (bytes int64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil || s.Bsize <= 0 {
		return 0, false
	}
	blocks, size := uint64(max(int64(s.Bavail), 0)), uint64(s.Bsize)
	if blocks > (1<<63-1)/size {
		return 1<<63 - 1, true
	}
	return int64(blocks * size), true
}
