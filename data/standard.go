package data

import (
	"image"

	"github.com/tokencache/tokencache/internal/raster"
)

// StdImage returns image i as Read gives it, in bytes, as one of the standard library's images.
func (s *Set) StdImage(i int) (image.Image, error) {
	m, err := s.Image(i)
	if err != nil {
		return nil, err
	}
	return (*raster.Image)(m).Std()
}
