package output

import (
	"context"
	"image"
	"image/draw"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
)

// WriteNeighbours writes a sheet of samples, each next to its nearest reference images, of which
// all have equally many.
func WriteNeighbours(path string, samples, reference eval.Images, nearest [][]eval.Neighbour) error {
	const pairs = 2 // samples in a row of the sheet
	layout := sheet.Layout{}
	for range pairs {
		layout.Heads = append(append(layout.Heads, "sample", "nearest"), make([]string, len(nearest[0])-1)...)
	}
	layout.Columns = len(layout.Heads)
	var cells []*raster.Image
	for s, list := range nearest {
		m, err := samples.Image(s)
		if err != nil {
			return err
		}
		cells = append(cells, pixels(m))
		for _, n := range list {
			if m, err = reference.Image(n.Index); err != nil {
				return err
			}
			cells = append(cells, pixels(m))
		}
	}
	m, err := layout.Render(cells)
	if err != nil {
		return err
	}
	return raster.WritePNG(path, m)
}

// pixels returns the pixels of an opaque image.
func pixels(m image.Image) *raster.Image {
	b := m.Bounds()
	p := &raster.Image{Height: b.Dy(), Width: b.Dx()}
	if _, ok := m.(*image.Gray); ok {
		grey := image.NewGray(image.Rect(0, 0, p.Width, p.Height))
		draw.Draw(grey, grey.Rect, m, b.Min, draw.Src)
		p.Channels, p.Pix = 1, grey.Pix
		return p
	}
	colours := image.NewNRGBA(image.Rect(0, 0, p.Width, p.Height))
	draw.Draw(colours, colours.Rect, m, b.Min, draw.Src)
	p.Channels = 3
	for at := colours.Pix; len(at) > 0; at = at[4:] {
		p.Pix = append(p.Pix, at[:3]...)
	}
	return p
}

// Neighbours writes a sheet of some of the samples, each next to the reference images nearest to
// it, and returns the mean distance to the nearest.
func Neighbours(ctx context.Context, path string, samples, reference eval.Images) (float64, error) {
	const shown, count = 20, 5
	samples = samples.Spread(shown)
	nearest, err := eval.Nearest(ctx, samples, reference, count)
	if err != nil {
		return 0, err
	}
	mean := 0.0
	for _, list := range nearest {
		mean += list[0].Distance / float64(len(nearest))
	}
	return mean, WriteNeighbours(path, samples, reference, nearest)
}
