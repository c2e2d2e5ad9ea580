package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/filelock"
)

// Claim is the right to write to an output, which one process has at a time.
type Claim struct {
	lock *filelock.Lock
	made string // folder that was made for the claim, or ""
}

// ClaimFolder makes the folder dir if need be, claims it, and removes the temporary files that a
// killed process left in it: of the files of the names given, and of all files in the subfolders
// given, which are the output's alone. It fails with a *filelock.HeldError if another process has
// the folder.
func ClaimFolder(dir string, names, subfolders []string) (*Claim, error) {
	c, err := claimOutput(dir, func(name string) bool { return slices.Contains(names, name) }, dir)
	if err != nil {
		return nil, err
	}
	all := func(string) bool { return true }
	for _, sub := range subfolders {
		err := filepath.WalkDir(filepath.Join(dir, sub), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			return atomicfile.Sweep(path, all)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, c.Release())
		}
	}
	return c, nil
}

// claimOutput is ClaimFolder for the output at path, which is dir or a file in it.
func claimOutput(path string, own func(name string) bool, dir string) (c *Claim, err error) {
	if err := checkName(path); err != nil {
		return nil, err
	}
	c = &Claim{}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		c.made = dir
	}
	if err := atomicfile.MakeFolder(dir); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	lock := filepath.Join(dir, ".tokencache.lock")
	if path != dir {
		lock = filepath.Join(dir, "."+filepath.Base(path)+".lock")
	}
	if c.lock, err = filelock.Acquire(lock); err != nil {
		return nil, fmt.Errorf("output %s: %w", path, err)
	}
	if err := atomicfile.Sweep(dir, own); err != nil {
		return nil, errors.Join(fmt.Errorf("output %s: %w", path, err), c.Release())
	}
	return c, nil
}

// Release ends the claim. A folder that was made for it and is empty goes too.
func (c *Claim) Release() error {
	err := c.lock.Release()
	if c.made != "" {
		_ = os.Remove(c.made) // unless there is something in it
	}
	return err
}

// NewFolder makes a new folder in parent, 0001 or the next number, and returns its path.
func NewFolder(parent string) (string, error) {
	if err := atomicfile.MakeFolder(parent); err != nil {
		return "", fmt.Errorf("output: %w", err)
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return "", fmt.Errorf("output %s: %w", parent, err)
	}
	last := 0
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > last {
			last = n
		}
	}
	for {
		last++
		dir := filepath.Join(parent, fmt.Sprintf("%04d", last))
		err := os.Mkdir(dir, 0o777)
		if !errors.Is(err, fs.ErrExist) {
			return dir, err
		}
	}
}
