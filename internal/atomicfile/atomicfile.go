// Package atomicfile writes whole files or none: the content goes to a temporary name in the same
// folder, is synced, and is renamed into place. It also knows what has to be right before such a
// write: the folder, the space, and what a killed program left there.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
)

// Write creates or replaces the file at path with what write writes to its argument. A link at path
// is replaced, not followed. If anything fails, an existing file is untouched, the temporary file
// is removed, and the error names path.
func Write(path string, write func(w io.Writer) error) (err error) {
	f, err := createTemp(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close() // a second Close after a failed rename is harmless
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	b := bufio.NewWriterSize(f, 1<<18)
	if err := write(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	syncDir(filepath.Dir(path))
	return nil
}

// createTemp creates a file .NAME.NUMBER.tmp next to path, with the permissions that the umask
// leaves to new files. It is locked while it is open, which Sweep notices.
func createTemp(path string) (*os.File, error) {
	const attempts = 100
	for i := 1; ; i++ {
		name := fmt.Sprintf(".%s.%d.tmp", filepath.Base(path), rand.Uint32())
		f, err := os.OpenFile(filepath.Join(filepath.Dir(path), name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			lock(f)
		}
		if !errors.Is(err, fs.ErrExist) || i == attempts {
			return f, err
		}
	}
}

// temporary matches the names that createTemp makes.
var temporary = regexp.MustCompile(`^\.(.+)\.[0-9]+\.tmp$`)

// Sweep removes the temporary files in dir that killed calls of Write left, of the files for whose
// names own is true. Those that are being written stay.
func Sweep(dir string, own func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if m := temporary.FindStringSubmatch(e.Name()); m != nil && e.Type().IsRegular() && own(m[1]) {
			path := filepath.Join(dir, e.Name())
			if inUse(path) {
				continue
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// MakeFolder makes the folder at path, and those above it. A file in its place, or above it, is an
// error that names the file, and so is a link to nothing.
func MakeFolder(path string) error {
	err := os.MkdirAll(filepath.Clean(path), 0o777)
	if system := (*fs.PathError)(nil); errors.As(err, &system) {
		switch info, errInfo := os.Stat(system.Path); {
		case errInfo == nil && !info.IsDir():
			return fmt.Errorf("%s: is a file, want the name of a folder", system.Path)
		case errors.Is(err, fs.ErrExist) && errors.Is(errInfo, fs.ErrNotExist):
			return fmt.Errorf("%s: is a link to nothing, want the name of a folder", system.Path)
		}
	}
	return err
}

// Prepare makes the folder of path, removes what killed calls of Write left of the file, and reports
// what would keep Write from writing there.
func Prepare(path string) error {
	if err := MakeFolder(filepath.Dir(path)); err != nil {
		return err
	}
	switch info, err := os.Lstat(path); {
	case err != nil:
	case info.IsDir():
		return fmt.Errorf("%s: is a folder, want the name of a file", path)
	case !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%s: is neither a file nor absent", path)
	}
	if err := Sweep(filepath.Dir(path), func(name string) bool { return name == filepath.Base(path) }); err != nil {
		return err
	}
	f, err := createTemp(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// CheckSpace reports that the file system of dir has less than need bytes free, where that can be
// told.
func CheckSpace(dir string, need int64) error {
	free, ok := freeSpace(dir)
	if !ok || free >= need {
		return nil
	}
	const mb = 1e6
	return fmt.Errorf("%s: %.1f MB are needed, %.1f MB are free", dir, float64(need)/mb, float64(free)/mb)
}

// OpenRegular opens the file at path for reading and writing, or creates it. Anything else there,
// such as a link, is an error.
func OpenRegular(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o666)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(notRegular(path), err, f.Close())
	}
	return f, nil
}

func notRegular(path string) error {
	return fmt.Errorf("%s: is a link or a special file, which is not written through", path)
}

// syncDir makes a rename in dir durable, on systems that can sync a folder.
func syncDir(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	_ = d.Sync()
}
