package data

import "github.com/tokencache/tokencache/internal/raster"

// Image is an image of 8 bits a channel.
type Image struct {
	Height, Width, Channels int     // 1 channel is grey, 3 are red, green and blue
	Pix                     []uint8 // [Height, Width, Channels]
}

// newImage returns a black image.
func newImage(height, width, channels int) (*Image, error) {
	m, err := raster.New(height, width, channels)
	return (*Image)(m), err
}

// centerCrop makes a square image as DiT and ADM prepare their training images.
func centerCrop(m *Image, size int) (*Image, error) {
	out, err := raster.CenterCrop((*raster.Image)(m), size)
	return (*Image)(out), err
}
