package data

import (
	"context"
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/internal/npz"
)

const (
	// memoryLimit is the size in bytes up to which an archive's images are kept in memory, where
	// their checksum is verified. Larger ones stay in the file, unless it is deflated, so that they
	// must be inflated in order.
	memoryLimit = 1 << 30
	// maxClasses is the number of classes beyond which labels are taken for something else.
	maxClasses = 1 << 16
)

// openNPZ opens an archive of samples: arr_0 uint8 [images, height, width, channels] or [images,
// height, width], and arr_1 and prompts, if they are there, their labels and prompts. The file has
// size bytes.
func openNPZ(path string, size int64, o Options, memoryLimit int) (s *Set, err error) {
	archive, err := npz.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer func() {
		if err != nil {
			archive.Close()
		}
	}()
	array, err := archive.Array("arr_0")
	if err != nil {
		return nil, err
	}
	n, shape := array.NumRows(), array.Shape
	if len(shape) == 3 {
		shape = append(slices.Clone(shape), 1)
	}
	if array.DType.String() != "|u1" || len(shape) != 4 || shape[3] != 1 && shape[3] != 3 || array.Len() == 0 ||
		shape[1] > maxSize || shape[2] > maxSize {
		return nil, fmt.Errorf("array %q: %v of %s: want [images, height, width, 1 or 3] or [images, height, width] "+
			"of |u1, no side above %d", array.Name, array.Shape, array.DType, maxSize)
	}
	if !array.Seekable() {
		if err := checkInflated(int64(array.Len()), size); err != nil {
			return nil, fmt.Errorf("array %q: %w", array.Name, err)
		}
	}
	s = &Set{Kind: "npz"}
	if slices.Contains(archive.Names(), "arr_1") {
		if s.Labels, s.Classes, err = npzLabels(archive, n, size); err != nil {
			return nil, err
		}
	} else {
		s.Labels = slices.Repeat([]int32{-1}, n)
	}
	if slices.Contains(archive.Names(), npz.PromptsArray) {
		if s.Prompts, err = npzPrompts(archive, n, size); err != nil {
			return nil, err
		}
	}
	if err := s.settle(o, shape[1], shape[2], shape[3]); err != nil {
		return nil, err
	}
	if array.Seekable() && array.Len() > memoryLimit {
		s.images = &npzImages{archive, array, shape[1], shape[2], shape[3]}
		return s, nil
	}
	pix, err := npz.Read[uint8](array)
	if err != nil {
		return nil, err
	}
	s.images = &memory{shape[1], shape[2], shape[3], pix}
	return s, archive.Close()
}

// npzLabels reads the labels of n images. Their classes have no names but their numbers.
func npzLabels(archive *npz.Archive, n int, size int64) ([]int32, []string, error) {
	array, err := archive.Array("arr_1")
	if err != nil {
		return nil, nil, err
	}
	if len(array.Shape) != 1 || array.Len() != n {
		return nil, nil, fmt.Errorf("array %q: labels of shape %v for %d images: want [%d]", array.Name, array.Shape, n, n)
	}
	if err := checkInflated(8*int64(n), size); err != nil {
		return nil, nil, fmt.Errorf("array %q: %w", array.Name, err)
	}
	numbers, err := npz.Read[int64](array)
	if err != nil {
		return nil, nil, err
	}
	labels, classes := make([]int32, n), int64(0)
	for i, number := range numbers {
		if number < 0 || number >= maxClasses {
			return nil, nil, fmt.Errorf("array %q: label %d of image %d: want 0 to %d", array.Name, number, i, maxClasses-1)
		}
		labels[i] = int32(number)
		classes = max(classes, number+1)
	}
	return labels, numbered(int(classes)), nil
}

// npzPrompts reads the prompts of n images.
func npzPrompts(archive *npz.Archive, n int, size int64) ([]string, error) {
	array, err := archive.Array(npz.PromptsArray)
	if err != nil {
		return nil, err
	}
	if array.Len() != n {
		return nil, fmt.Errorf("array %q: %d prompts for %d images", array.Name, array.Len(), n)
	}
	if err := checkInflated(array.Bytes(), size); err != nil {
		return nil, fmt.Errorf("array %q: %w", array.Name, err)
	}
	return npz.ReadText(array)
}

// npzImages is images that are read from the archive when they are asked for.
type npzImages struct {
	archive                 *npz.Archive
	array                   *npz.Array
	height, width, channels int
}

func (s *npzImages) image(_ context.Context, i int) (*Image, error) {
	out, err := newImage(s.height, s.width, s.channels)
	if err != nil {
		return nil, err
	}
	rows, err := s.array.Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if err := rows.Seek(i); err != nil {
		return nil, err
	}
	_, err = npz.Next(rows, out.Pix)
	return out, err
}

func (s *npzImages) file(i int) string { return fmt.Sprintf("image %d", i) }

func (s *npzImages) Close() error { return s.archive.Close() }
