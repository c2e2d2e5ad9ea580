// Package raster makes pictures of samples: numbers to bytes, bytes to PNG files with text in them, several pictures to a sheet,
// and pictures to the size that a model takes.
//
// Each conversion is one that others use, to the bit, since metrics see the difference. The package knows no model.
package raster

import "fmt"

// maxBytes is the size beyond which a picture is refused.
const maxBytes = 1 << 30

// Image is a picture of 8 bits per channel.
type Image struct {
	Height, Width, Channels int
	Pix                     []uint8 // [Height, Width, Channels]
}

// New returns a black picture. Sizes must be positive, and the whole at most a gigabyte.
func New(height, width, channels int) (*Image, error) {
	if height <= 0 || width <= 0 || channels <= 0 || height > maxBytes/width/channels {
		return nil, fmt.Errorf("picture of %dx%d pixels (height x width), %d channels: cannot be made", height, width, channels)
	}
	return &Image{height, width, channels, make([]uint8, height*width*channels)}, nil
}

// row returns the bytes of row y.
func (m *Image) row(y int) []uint8 {
	stride := m.Width * m.Channels
	return m.Pix[y*stride:][:stride]
}
