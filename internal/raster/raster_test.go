package raster_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/raster"
)

// vectors are the arrays of a file in testdata.
type vectors struct {
	t *testing.T
	a *npz.Archive
}

func open(t *testing.T, path string) vectors {
	a, err := npz.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return vectors{t, a}
}

func read[T npz.Element](v vectors, name string) ([]T, []int) {
	v.t.Helper()
	array, err := v.a.Array(name)
	if err != nil {
		v.t.Fatal(err)
	}
	values, err := npz.Read[T](array)
	if err != nil {
		v.t.Fatal(err)
	}
	return values, array.Shape
}

// image is an image [height, width, channels] of the file.
func (v vectors) image(name string) *raster.Image {
	v.t.Helper()
	pix, shape := read[uint8](v, name)
	return &raster.Image{Height: shape[0], Width: shape[1], Channels: shape[2], Pix: pix}
}

func TestNewRefuses(t *testing.T) {
	for _, size := range [][3]int{{0, 1, 1}, {1, -1, 1}, {1, 1, 0}, {1 << 20, 1 << 20, 3}, {math.MaxInt, math.MaxInt, 3}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			if _, err := raster.New(size[0], size[1], size[2]); err == nil {
				t.Error("no error")
			}
		})
	}
}
