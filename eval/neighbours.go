package eval

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/internal/raster"
)

// Neighbour is a reference image and its distance from a sample.
type Neighbour struct {
	Index    int
	Distance float64 // root mean square difference of pixels in [-1,1]
}

// Nearest returns for each sample the count reference images nearest to it in their pixels, the
// nearest first. It shows whether a model has memorised images. All images must have one size.
func Nearest(ctx context.Context, samples, reference Images, count int) ([][]Neighbour, error) {
	nearest := make([][]Neighbour, samples.Count)
	pixels := make([]*raster.Image, samples.Count)
	for s := range pixels {
		var err error
		if pixels[s], err = samples.read(s); err != nil {
			return nil, err
		}
	}
	for i := range reference.Count {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := reference.read(i)
		if err != nil {
			return nil, err
		}
		for s, sample := range pixels {
			if m.Height != sample.Height || m.Width != sample.Width || m.Channels != sample.Channels {
				return nil, fmt.Errorf("sample %d has %d x %d pixels and %d channels, reference image %d has %d x %d and %d: "+
					"want equal sizes", s, sample.Height, sample.Width, sample.Channels, i, m.Height, m.Width, m.Channels)
			}
			nearest[s] = insert(nearest[s], Neighbour{i, distance(sample.Pix, m.Pix)}, count)
		}
	}
	return nearest, nil
}

// insert adds n to a list of up to count neighbours, the nearest first.
func insert(list []Neighbour, n Neighbour, count int) []Neighbour {
	if len(list) == count && list[count-1].Distance <= n.Distance {
		return list
	}
	byDistance := func(a, b Neighbour) int { return cmp.Compare(a.Distance, b.Distance) }
	at, _ := slices.BinarySearchFunc(list, n, byDistance)
	list = slices.Insert(list, at, n)
	return list[:min(len(list), count)]
}

// distance is that of two images as Neighbour has it.
func distance(a, b []uint8) float64 {
	sum := 0
	for i, v := range a {
		d := int(v) - int(b[i])
		sum += d * d
	}
	return math.Sqrt(float64(sum)/float64(len(a))) / 127.5
}
