package output

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/raster"
)

// Images are the images of a folder that a run wrote, in their order.
type Images struct {
	Classes []int32 // -1 where an image does not say
	paths   []string
}

// ReadFolder returns the images 000000.png, 000001.png, ... of dir, or nil if there are none.
func ReadFolder(dir string) (*Images, error) {
	s := &Images{}
	f := folder{dir: dir}
	for i := 0; ; i++ {
		path := f.path(i)
		texts, err := raster.ReadTexts(path)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		class := -1
		for _, t := range texts {
			if t.Key == "class" {
				if class, err = strconv.Atoi(t.Value); err != nil {
					return nil, fmt.Errorf("%s: class %q is not a number", filepath.Base(path), t.Value)
				}
			}
		}
		s.paths, s.Classes = append(s.paths, path), append(s.Classes, int32(class))
	}
	if len(s.paths) == 0 {
		return nil, nil
	}
	return s, nil
}

// Evaluated returns the images for an evaluation: none if s is nil.
func (s *Images) Evaluated() eval.Images {
	if s == nil {
		return eval.Images{}
	}
	return eval.Images{Count: len(s.Classes), Labels: s.Classes, Image: s.Image}
}

// Image returns image i.
func (s *Images) Image(i int) (image.Image, error) {
	m, err := readPNG(s.paths[i])
	if err != nil {
		return nil, err
	}
	return m.Std()
}
