package output

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/tokencache/tokencache/internal/raster"
)

// Drawn are the pictures of a folder that a run wrote, in their order.
type Drawn struct {
	Classes []int32 // -1 where a picture does not say
	paths   []string
	size    int
	chans   int
}

// ReadFolder returns the pictures 000000.png, 000001.png, ... of dir, which must be of size pixels a side and have the given number of channels, or nil
// if there are none.
func ReadFolder(dir string, size, channels int) (*Drawn, error) {
	d := &Drawn{size: size, chans: channels}
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
					return nil, fmt.Errorf("%s: class %q is no number", filepath.Base(path), t.Value)
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

// Read fills dst with picture i, [channels, size, size] in [-1,1].
func (d *Drawn) Read(i int, dst []float32) error {
	m, err := readPNG(d.paths[i])
	if err != nil {
		return err
	}
	if m.Height != d.size || m.Width != d.size || m.Channels != d.chans {
		return fmt.Errorf("%s: a picture of %d x %d pixels and %d channels, want %d x %d and %d", d.paths[i], m.Height, m.Width, m.Channels, d.size, d.size, d.chans)
	}
	copy(dst, m.Sample())
	return nil
}

// Picture returns picture i, whatever its size.
func (d *Drawn) Picture(i int) (*raster.Image, error) { return readPNG(d.paths[i]) }
