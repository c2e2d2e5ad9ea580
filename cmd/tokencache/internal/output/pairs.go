package output

import (
	"slices"
	"strings"

	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
)

// Pairs are images of two kinds, such as uncached ones and those of a policy.
type Pairs struct {
	Heads   [2]string          // names of the kinds
	Images  [][2]*raster.Image // all of one size
	Classes []int              // of each pair
	Names   []string           // of all classes, or nil
}

const (
	maxPairs    = 40 // on a sheet
	pairColumns = 4
)

// Write writes a sheet of the first pairs to path, a PNG file, the images of a pair next to each
// other.
func (p Pairs) Write(path string) error {
	layout := sheet.Layout{Columns: 2 * pairColumns}
	for range pairColumns {
		layout.Heads = append(layout.Heads, p.Heads[:]...)
	}
	var images []*raster.Image
	for i := range min(len(p.Images), maxPairs) {
		if i%pairColumns == 0 && p.Names != nil {
			layout.Rows = append(layout.Rows, p.caption(i, min(i+pairColumns, len(p.Images))))
		}
		images = append(images, p.Images[i][:]...)
	}
	m, err := layout.Render(images)
	if err != nil {
		return err
	}
	return raster.WritePNG(path, m)
}

// caption names the classes of pairs from to before end.
func (p Pairs) caption(from, end int) string {
	var names []string
	for _, class := range p.Classes[from:end] {
		names = append(names, Run{Names: p.Names}.caption(class))
	}
	return strings.Join(slices.Compact(names), ", ")
}
