//go:build linux || darwin || freebsd

package atomicfile

import "golang.org/x/sys/unix"

const noFollow = unix.O_NOFOLLOW

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
