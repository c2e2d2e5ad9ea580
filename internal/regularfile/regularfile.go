// Package regularfile opens foreign files for reading: regular files alone, and texts of bounded
// size. Opening a pipe waits for a writer, and a device has no end.
package regularfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrNotRegular says that a path is neither a file nor a link to one, but a pipe, a device, a
// socket or a folder.
var ErrNotRegular = errors.New("not a regular file")

// MaxText is the size in bytes up to which a file that people write, such as a config.json, is
// read.
const MaxText = 16 << 20

// Open opens the regular file at path and returns its size in bytes. Anything else is
// ErrNotRegular, and is not opened.
func Open(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if info.IsDir() {
		return nil, 0, fmt.Errorf("a folder, %w", ErrNotRegular)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, ErrNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() { // it was replaced in between
		err = ErrNotRegular
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// Read reads the regular file at path whole, of at most maxSize bytes. Its errors name path.
func Read(path string, maxSize int64) ([]byte, error) {
	f, size, err := Open(path)
	if err != nil {
		return nil, withPath(path, err)
	}
	defer f.Close()
	return readAll(path, f, size, maxSize)
}

// ReadFS is Read in a file system, which may be a folder of the disk.
func ReadFS(fsys fs.FS, name string, maxSize int64) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, withPath(name, ErrNotRegular)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(name, f, info.Size(), maxSize)
}

// readAll reads the size bytes of r. A file that has grown since is read up to size.
func readAll(path string, r io.Reader, size, maxSize int64) ([]byte, error) {
	if size > maxSize {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", path, size, maxSize)
	}
	b, err := io.ReadAll(io.LimitReader(r, size))
	if err != nil {
		return nil, withPath(path, err)
	}
	return b, nil
}

// withPath names path in an error that does not name it yet.
func withPath(path string, err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}
