package output

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/pngtext"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
)

// Pairs are images of two kinds, such as uncached ones and those of a policy.
type Pairs struct {
	Kinds   [2]string          // what the kinds are called
	Images  [][2]*raster.Image // all of one size
	Classes []int              // of each pair
	Names   []string           // of all classes, or nil
	Texts   []raster.Text      // of the PNG file
}

// PairsOf returns the images of a request of two kinds.
func PairsOf(p *tokencache.Pipeline, req tokencache.Request, kinds [2]string,
	uncached, cached []tokencache.Image) Pairs {
	pairs := Pairs{Kinds: kinds, Texts: pngtext.Of(p, req, "").Texts()}
	pairs.Classes, pairs.Names = subjects(p, req)
	for i := range cached {
		pairs.Images = append(pairs.Images, [2]*raster.Image{rasterOf(uncached[i]), rasterOf(cached[i])})
	}
	return pairs
}

// pairsPath returns the PNG file for pairs that path names: itself, or one in a folder. Another kind
// of output is an error.
func pairsPath(path string) (string, error) {
	switch k, err := kindOf(path); {
	case err != nil:
		return "", err
	case k == kindSheet:
		return path, nil
	case k == kindFolder:
		return filepath.Join(path, "compare.png"), nil
	}
	return "", fmt.Errorf("output %s: want FILE.png or a folder", path)
}

// PreparePairs returns the PNG file for pairs that path names, and refuses what cannot be written,
// before the work. An empty path makes a new folder, which discard removes again if nothing was
// written. What is at that path is an *ExistsError, unless it may be overwritten.
func PreparePairs(path string, overwrite bool) (file string, discard func(), err error) {
	discard = func() {}
	if path == "" {
		if path, err = NewFolder(DefaultParent); err != nil {
			return "", nil, err
		}
		folder := path
		discard = func() { _ = os.Remove(folder) } // unless there is something in it
	}
	if file, err = pairsPath(path); err != nil {
		return "", nil, err
	}
	if !overwrite {
		if info, err := os.Lstat(file); err == nil && (info.Mode().IsRegular() || info.Mode()&os.ModeSymlink != 0) {
			return "", nil, &ExistsError{Path: file, What: "is there already"}
		}
	}
	return file, discard, atomicfile.Prepare(file)
}

const (
	maxPairs    = 40 // on a sheet
	pairColumns = 10 // the images of a row
)

// Write writes a sheet of the first pairs to path, a PNG file: a row of one kind above a row of the
// other. The classes stand above the columns if there are only two rows, else above the images.
func (p Pairs) Write(path string) error {
	pairs := p.Images[:min(len(p.Images), maxPairs)]
	layout := sheet.Layout{Columns: min(len(pairs), pairColumns)}
	if len(pairs) <= pairColumns && p.Names != nil {
		for _, class := range p.Classes[:len(pairs)] {
			layout.Heads = append(layout.Heads, Run{Names: p.Names}.caption(class))
		}
	}
	var images []*raster.Image
	for first := 0; len(layout.Heads) == 0 && p.Names != nil && first < len(pairs); first += pairColumns {
		names := make([]string, 2*layout.Columns)
		for i, class := range p.Classes[first:min(first+pairColumns, len(pairs))] {
			names[i] = Run{Names: p.Names}.caption(class)
		}
		layout.Names = append(layout.Names, names...)
	}
	for block := range slices.Chunk(pairs, pairColumns) {
		for kind, name := range p.Kinds {
			layout.Rows = append(layout.Rows, name)
			for _, pair := range block {
				images = append(images, pair[kind])
			}
			images = append(images, make([]*raster.Image, layout.Columns-len(block))...)
		}
	}
	m, err := layout.Render(images)
	if err != nil {
		return err
	}
	return raster.WritePNG(path, m, p.Texts...)
}
