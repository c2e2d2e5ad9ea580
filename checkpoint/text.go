package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// MaxText bounds the JSON files that lie next to weights.
const MaxText = regularfile.MaxText

// ReadText reads the file at path whole: a config.json or its like, of at most MaxText bytes. It
// fails for what is not a regular file, such as a pipe or a device, and for a Git LFS pointer in
// place of the file. A missing file is os.ErrNotExist.
func ReadText(path string) ([]byte, error) {
	file, size, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer file.Close()
	if size > MaxText {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", path, size, MaxText)
	}
	b, err := io.ReadAll(io.LimitReader(file, size))
	if err == nil {
		err = checkPointer(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// openRegular opens a regular file and returns its size. Its errors do not name path.
func openRegular(path string) (*os.File, int64, error) {
	file, size, err := regularfile.Open(path)
	return file, size, withoutPath(err)
}

// withoutPath drops the path from an error of package os, where the caller names it.
func withoutPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// ErrPointer is the error for a Git LFS pointer: a clone without the large files has such a text in
// place of each.
var ErrPointer = errors.New("a Git LFS pointer, not the file itself: fetch it with git lfs pull")

var pointerHead = []byte("version https://git-lfs.")

// checkPointer reports the beginning of a Git LFS pointer.
func checkPointer(head []byte) error {
	if bytes.HasPrefix(head, pointerHead) {
		return ErrPointer
	}
	return nil
}

// maxName bounds the names of tensors, in bytes.
const maxName = 1024

// checkName reports a tensor's name that no model has and that would be a nuisance in a message or
// on a terminal.
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("a tensor's name of %d bytes, want at most %d", len(name), maxName)
	}
	if !printable(name) {
		return fmt.Errorf("the tensor's name %q has characters that cannot be printed", name)
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// Clean returns text from a file as it can go into a message: at most 200 bytes, quoted if anything
// in it cannot be printed.
func Clean(s string) string {
	const most = 200
	cut := s
	if len(s) > most {
		for cut = s[:most]; len(cut) > most-utf8.UTFMax && !utf8.ValidString(cut); {
			cut = cut[:len(cut)-1]
		}
	}
	if !printable(cut) {
		cut = strconv.Quote(cut)
	}
	if len(s) > most {
		cut += "..."
	}
	return cut
}
