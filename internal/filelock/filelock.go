// Package filelock lets one process at a time write to an output.
package filelock

import (
	"errors"
	"fmt"
	"os"
)

// Lock is a lock that this process holds.
type Lock struct {
	file *os.File
	path string
}

// HeldError reports an output that another process is writing to.
type HeldError struct {
	Path string // of the lock file
	// Persists says that the lock file of a killed process stays in force until it is removed.
	Persists bool
}

func (e *HeldError) Error() string {
	if e.Persists {
		return fmt.Sprintf("another process is writing there; if none is running, remove %s", e.Path)
	}
	return "another process is writing there: wait until it is done, or stop it"
}

// Acquire takes the lock that the file at path stands for, which it creates, or fails with a
// *HeldError at once. The lock ends with the process, where the system can do that. A link at path
// is not followed.
func Acquire(path string) (*Lock, error) {
	f, err := acquire(path)
	if err != nil {
		return nil, err
	}
	return &Lock{file: f, path: path}, nil
}

// Release gives the lock back and removes its file. A second call does nothing.
func (l *Lock) Release() error {
	if l.file == nil {
		return nil
	}
	// The file goes while the lock is held, so that no other process loses it.
	err := errors.Join(os.Remove(l.path), l.file.Close())
	l.file = nil
	return err
}
