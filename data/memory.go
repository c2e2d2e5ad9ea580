package data

import (
	"fmt"

	"github.com/tokencache/tokencache/internal/raster"
)

// memory is images of one size in memory.
type memory struct {
	height, width, channels int
	pix                     []uint8 // [image, height, width, channels]
}

func (m *memory) picture(i int) (*raster.Image, error) {
	out, err := raster.New(m.height, m.width, m.channels)
	if err != nil {
		return nil, err
	}
	copy(out.Pix, m.pix[i*len(out.Pix):])
	return out, nil
}

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
