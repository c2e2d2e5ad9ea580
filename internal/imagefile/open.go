package imagefile

import (
	"context"
	"io"
)

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
