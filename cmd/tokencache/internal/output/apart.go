package output

import (
	"fmt"
	"os"
	"path/filepath"
)

// Apart reports a file that is named as two of the outputs, or as an output and as one of the
// inputs, which it would replace. Empty paths are none.
func Apart(outputs []string, inputs ...string) error {
	for i, path := range outputs {
		for _, other := range outputs[:i] {
			if samePath(path, other) {
				return fmt.Errorf("%s: is named as two outputs, want a file for each", path)
			}
		}
		for _, input := range inputs {
			if samePath(path, input) {
				return fmt.Errorf("%s: is an input, and would be replaced by an output", path)
			}
		}
	}
	return nil
}

// samePath reports whether two paths are of one file, which may not be there yet.
func samePath(a, b string) bool {
	if a == "" || b == "" || a == Stdout {
		return false
	}
	i, errI := os.Stat(a)
	j, errJ := os.Stat(b)
	if errI == nil && errJ == nil {
		return !i.IsDir() && os.SameFile(i, j)
	}
	x, errX := filepath.Abs(a)
	y, errY := filepath.Abs(b)
	return errX == nil && errY == nil && x == y
}

// holds reports whether path is one of the files that a sink for the folder dir writes.
func holds(dir, path string) bool {
	kind, err := kindOf(dir)
	if err != nil || kind != kindFolder || !folderFiles(filepath.Base(path)) {
		return false
	}
	x, errX := filepath.Abs(dir)
	y, errY := filepath.Abs(filepath.Dir(path))
	return errX == nil && errY == nil && x == y
}
