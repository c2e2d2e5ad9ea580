package report

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/report/internal/chart"
)

// SheetRow is one method's images, in the same order in every row.
type SheetRow struct {
	Title, Note string
	Images      []image.Image
	More        bool // the report shows it only when asked to
}

const (
	sheetGap  = 4   // pixels between images
	sheetHead = 24  // pixels of a row's title
	sheetSide = 96  // min side of an image of the sheet, pixels
	pageSide  = 192 // max side of an image of the page, pixels
)

// writeSheet writes a PNG of all rows, each below its title, no image smaller than it is. Without
// images there is no file.
func writeSheet(path string, rows []SheetRow) error {
	side, columns := sheetSize(rows)
	if side == 0 {
		return nil
	}
	times := (sheetSide + side - 1) / side
	cell := side * times
	width := sheetGap + max(columns*(cell+sheetGap), 5*sheetSide)
	whole := newCanvas(width, sheetGap+len(rows)*(sheetHead+cell+sheetGap))
	for i, row := range rows {
		top := sheetGap + i*(sheetHead+cell+sheetGap)
		title := row.Title
		if row.Note != "" {
			title += " · " + row.Note
		}
		whole.text(sheetGap, top+sheetHead-8, chart.Fit(title, 13, float64(width-2*sheetGap)), 13, chart.Start)
		for j, img := range row.Images {
			enlarge(whole, img, image.Pt(sheetGap+j*(cell+sheetGap), top+sheetHead), times)
		}
	}
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, whole.RGBA) })
}

// sheetSize returns the longest side of all images and the largest number of images in a row.
func sheetSize(rows []SheetRow) (side, columns int) {
	for _, row := range rows {
		columns = max(columns, len(row.Images))
		for _, img := range row.Images {
			if img != nil {
				side = max(side, img.Bounds().Dx(), img.Bounds().Dy())
			}
		}
	}
	return side, columns
}

// enlarge draws an image, if there is one, with every pixel times as wide and as high.
func enlarge(to draw.Image, img image.Image, at image.Point, times int) {
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

// strip returns a row's images next to each other in one image for the page. If they are larger
// than the page shows them, the pixels are means of square blocks.
func strip(images []image.Image, side int) image.Image {
	shrink := max((side+pageSide-1)/pageSide, 1)
	cell := (side + shrink - 1) / shrink
	gap := stripGap(side)
	// Gaps stay transparent.
	whole := image.NewNRGBA(image.Rect(0, 0, max(len(images)*(cell+gap)-gap, 1), max(cell, 1)))
	for i, img := range images {
		if img == nil {
			continue
		}
		b := img.Bounds()
		for y := range (b.Dy() + shrink - 1) / shrink {
			for x := range (b.Dx() + shrink - 1) / shrink {
				block := image.Rect(x*shrink, y*shrink, (x+1)*shrink, (y+1)*shrink).Add(b.Min).Intersect(b)
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
