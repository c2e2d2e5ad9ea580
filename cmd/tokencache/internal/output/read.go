package output

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/tokencache/tokencache/internal/raster"
)

// Images are the images of a folder that a run wrote, in their order.
type Images struct {
	Classes []int32 // -1 where an image does not say
	paths   []string
	size    int
	chans   int
}

// ReadFolder returns the images 000000.png, 000001.png, ... of dir, or nil if there are none. Size
// and channels are those that Read wants.
func ReadFolder(dir string, size, channels int) (*Images, error) {
	d := &Images{size: size, chans: channels}
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
		d.paths, d.Classes = append(d.paths, path), append(d.Classes, int32(class))
	}
	if len(d.paths) == 0 {
		return nil, nil
	}
	return d, nil
}

// Read fills dst with image i, [channels, size, size] in [-1,1].
func (d *Images) Read(i int, dst []float32) error {
	m, err := readPNG(d.paths[i])
	if err != nil {
		return err
	}
	if m.Height != d.size || m.Width != d.size || m.Channels != d.chans {
		return fmt.Errorf("%s: an image of %d x %d pixels and %d channels, want %d x %d and %d",
			d.paths[i], m.Height, m.Width, m.Channels, d.size, d.size, d.chans)
	}
	copy(dst, m.Sample())
	return nil
}

// Picture returns image i, whatever its size.
func (d *Images) Picture(i int) (*raster.Image, error) { return readPNG(d.paths[i]) }
