package data

import "image"

// StdImage returns image i as Read gives it, in bytes, as one of the standard library's images.
func (s *Set) StdImage(i int) (image.Image, error) {
	m, err := s.Picture(i)
	if err != nil {
		return nil, err
	}
	return m.Std()
}
