package data

import (
	"context"
	"fmt"
)

// memory is images of one size in memory.
type memory struct {
	height, width, channels int
	pix                     []uint8 // [image, height, width, channels]
}

func (m *memory) image(_ context.Context, i int) (*Image, error) {
	out, err := newImage(m.height, m.width, m.channels)
	if err != nil {
		return nil, err
	}
	copy(out.Pix, m.pix[i*len(out.Pix):])
	return out, nil
}

func (m *memory) file(i int) string { return fmt.Sprintf("image %d", i) }

func (m *memory) Close() error { return nil }

// add appends images, which must have the size of those that are there.
func (m *memory) add(more *memory) error {
	if len(m.pix) == 0 {
		*m = *more
		return nil
	}
	if m.height != more.height || m.width != more.width || m.channels != more.channels {
		return fmt.Errorf("images of %dx%dx%d after others of %dx%dx%d (height, width, channels): want one size",
			more.height, more.width, more.channels, m.height, m.width, m.channels)
	}
	m.pix = append(m.pix, more.pix...)
	return nil
}

const (
	freeMemory = 64 << 20 // bytes that the images of any compressed file may take in memory
	fileMemory = 16       // and bytes for each byte of the file
)

// checkInflated refuses to inflate a file of size bytes to n bytes: so many come of little only if
// it is made for it.
func checkInflated(n, size int64) error {
	if most := freeMemory + fileMemory*size; n > most {
		return fmt.Errorf("%d bytes compressed to %d: want at most %d of such a file; unpacked it can be read", n, size, most)
	}
	return nil
}
