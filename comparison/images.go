package comparison

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/npz"
)

// chunkImages is how many images a file of a cell holds.
const chunkImages = 100

func (d *drawn) chunk(from int) string { return filepath.Join(d.dir, fmt.Sprintf("%06d.npz", from)) }

// chunks returns how many images of the cell are there.
func (d *drawn) chunks() (int, error) {
	have := 0
	for {
		images, err := d.read(have)
		if os.IsNotExist(err) {
			return have, nil
		}
		if err != nil {
			return 0, err
		}
		have += len(images)
		if len(images) == 0 {
			return have, nil
		}
	}
}

// write writes the images from the from-th on to a file.
func (d *drawn) write(from int, images []tokencache.Image) error {
	s := npz.Samples{Count: len(images), Height: images[0].Height, Width: images[0].Width, Channels: images[0].Channels}
	for _, m := range images {
		s.Labels = append(s.Labels, int64(m.Class))
	}
	s.Image = func(i int) ([]byte, error) { return images[i].Pixels, nil }
	return s.Write(d.chunk(from))
}

// read reads the file that begins with an image.
func (d *drawn) read(from int) ([]tokencache.Image, error) {
	path := d.chunk(from)
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	a, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	pixels, err := a.Array("arr_0")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	classes, err := a.Array("arr_1")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	labels, err := npz.Read[int64](classes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(pixels.Shape) != 4 || pixels.Shape[0] != len(labels) {
		return nil, fmt.Errorf("%s: images of shape %v with %d classes", path, pixels.Shape, len(labels))
	}
	all, err := npz.Read[uint8](pixels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	images := make([]tokencache.Image, len(labels))
	size := pixels.RowLen()
	for i := range images {
		images[i] = tokencache.Image{
			Index: from + i, Class: int(labels[i]), Height: pixels.Shape[1], Width: pixels.Shape[2], Channels: pixels.Shape[3], Pixels: all[i*size:][:size],
		}
	}
	return images, nil
}

// first reads the first images of a cell, count of them.
func (d *drawn) first(count int) ([]tokencache.Image, error) {
	var list []tokencache.Image
	for len(list) < count {
		images, err := d.read(len(list))
		if err != nil {
			return nil, err
		}
		list = append(list, images...)
	}
	return list[:count], nil
}
