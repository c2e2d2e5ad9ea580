package report

import (
	"image"
	"image/color"
	stddraw "image/draw"
	"image/png"
	"io"

	"github.com/tokencache/tokencache/internal/atomicfile"
)

// The same images under every method.

// SheetRow is one method's pictures, in the same order in every row.
type SheetRow struct {
	Title, Note string
	Images      []image.Image
	More        bool // the report shows it only when asked to
}

const (
	sheetGap  = 4   // pixels between images
	sheetHead = 24  // pixels of a row's title
	sheetSide = 96  // pixels that an image of the sheet has at least
	pageSide  = 192 // pixels that an image of the page has at most
)

// writeSheet writes a PNG of all rows, each below its title, no image smaller than it came. Without pictures there is no file.
func writeSheet(path string, rows []SheetRow) error {
	side, most := sheetSize(rows)
	if side == 0 {
		return nil
	}
	times := (sheetSide + side - 1) / side
	cell := side * times
	whole, err := newPage(sheetGap+max(most*(cell+sheetGap), 5*sheetSide), sheetGap+len(rows)*(sheetHead+cell+sheetGap))
	if err != nil {
		return err
	}
	for i, row := range rows {
		top := sheetGap + i*(sheetHead+cell+sheetGap)
		title := row.Title
		if row.Note != "" {
			title += " · " + row.Note
		}
		whole.text(sheetGap, top+sheetHead-8, title, 13, begin)
		for j, img := range row.Images {
			enlarge(whole, img, image.Pt(sheetGap+j*(cell+sheetGap), top+sheetHead), times)
		}
	}
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, whole) })
}

// sheetSize returns the longest side of all images and the most images of a row.
func sheetSize(rows []SheetRow) (side, most int) {
	for _, row := range rows {
		most = max(most, len(row.Images))
		for _, img := range row.Images {
			if img != nil {
				side = max(side, img.Bounds().Dx(), img.Bounds().Dy())
			}
		}
	}
	return side, most
}

// enlarge draws an image, if there is one, with every pixel so many times as long and as wide.
func enlarge(to stddraw.Image, img image.Image, at image.Point, times int) {
	if img == nil {
		return
	}
	from := img.Bounds()
	for y := range from.Dy() * times {
		for x := range from.Dx() * times {
			to.Set(at.X+x, at.Y+y, img.At(from.Min.X+x/times, from.Min.Y+y/times))
		}
	}
}

// beside returns a row's images beside each other in one picture for the page. If they are larger than the page shows them, the pixels are means of square blocks.
func beside(images []image.Image, side int) image.Image {
	less := max((side+pageSide-1)/pageSide, 1)
	cell := (side + less - 1) / less
	gap := stripGap(side)
	whole := image.NewNRGBA(image.Rect(0, 0, max(len(images)*(cell+gap)-gap, 1), max(cell, 1))) // gaps stay transparent
	for i, img := range images {
		if img == nil {
			continue
		}
		b := img.Bounds()
		for y := range (b.Dy() + less - 1) / less {
			for x := range (b.Dx() + less - 1) / less {
				block := image.Rect(x*less, y*less, (x+1)*less, (y+1)*less).Add(b.Min).Intersect(b)
				whole.Set(i*(cell+gap)+x, y, mean(img, block))
			}
		}
	}
	return whole
}

// stripGap is the room between images of a strip, in its pixels, about a thirtieth of an image.
func stripGap(side int) int { return max(1, min(side, pageSide)/32) }

// mean returns the average colour of a part of an image that is not empty.
func mean(img image.Image, part image.Rectangle) color.Color {
	var sum [4]uint64
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			r, g, b, a := img.At(x, y).RGBA()
			for i, v := range [4]uint32{r, g, b, a} {
				sum[i] += uint64(v)
			}
		}
	}
	n := uint64(part.Dx() * part.Dy())
	return color.RGBA64{uint16(sum[0] / n), uint16(sum[1] / n), uint16(sum[2] / n), uint16(sum[3] / n)}
}
