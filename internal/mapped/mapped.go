// Package mapped gives the content of large files as memory that processes share.
package mapped

import (
	"fmt"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// Open returns the content of the file at path, which must not change while the program runs, as
// memory to be read only, aligned to a page. It stays mapped until the process ends: slices of it
// are handed on, and nobody could tell when the last of them is gone. Where files cannot be mapped
// it is read.
func Open(path string) ([]byte, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size == 0 || int64(int(size)) != size {
		return nil, fmt.Errorf("map %s: want a file that has content and fits into memory", path)
	}
	b, err := content(f, int(size))
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return b, nil
}
