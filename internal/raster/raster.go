// Package raster converts between samples and images: numbers to bytes and back, bytes to PNG files
// with text in them, and images to the size that a model takes.
//
// Each conversion is bit for bit one in common use, since metrics see the difference. The package
// knows no model.
package raster

import "fmt"

// maxBytes is the size above which an image is refused.
const maxBytes = 1 << 30

// Image is an image of 8 bits per channel.
type Image struct {
	Height, Width, Channels int
	Pix                     []uint8 // [Height, Width, Channels]
}

// New returns a black image. Sizes must be positive, and the whole at most a gigabyte.
func New(height, width, channels int) (*Image, error) {
	if height <= 0 || width <= 0 || channels <= 0 || height > maxBytes/width/channels {
		return nil, fmt.Errorf("image of %dx%d pixels (height x width), %d channels: "+
			"want 1 or more of each, at most %d bytes", height, width, channels, maxBytes)
	}
	return &Image{height, width, channels, make([]uint8, height*width*channels)}, nil
}

// Row returns the bytes of row y, [Width, Channels], which are not copied.
func (m *Image) Row(y int) []uint8 {
	stride := m.Width * m.Channels
	return m.Pix[y*stride:][:stride]
}
