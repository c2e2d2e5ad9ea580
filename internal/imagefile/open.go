package imagefile

import (
	"context"
	"errors"
	"io"
	"os"
)

// ErrNotRegular says that a path is neither a file nor a link to one, but a pipe, a device, a
// socket or a folder.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a regular file and returns its size in bytes. Anything else is refused without being
// opened, as opening a pipe waits for a writer, and reading a device may never end.
func Open(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
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

// contextReader reads until ctx ends, in pieces small enough that this is soon noticed.
type contextReader struct {
	ctx context.Context
	r   interface {
		io.Reader
		io.ReaderAt
	}
}

// maxRead is the size of a piece in bytes.
const maxRead = 1 << 16

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p[:min(len(p), maxRead)])
}

// ReadAt reads all of p, as io.ReaderAt demands.
func (c *contextReader) ReadAt(p []byte, off int64) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.ReadAt(p, off)
}

// noEOF makes the end of a file that should go on an error that says so.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readAt reads n bytes from offset at.
func readAt(r io.ReaderAt, at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := r.ReadAt(b, at); err != nil {
		return nil, noEOF(err)
	}
	return b, nil
}
