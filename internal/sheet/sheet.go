// Package sheet lays images out in a grid with captions: contact sheets and comparisons.
//
// It is apart from internal/raster because captions need a font rasteriser, which a program that
// only generates images should not link.
package sheet

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"github.com/tokencache/tokencache/internal/raster"
)

// Layout arranges images in a grid, row by row, with black captions on white.
type Layout struct {
	Columns int // images per row
	Scale   int // each pixel becomes Scale x Scale; 0: what gives 112 pixels or more a side, up to 4
	Gap     int // white pixels between images; 0: 2

	// Rows are captions left of the rows, in several lines where they have line breaks or are long.
	// Heads are captions above the columns, and Names one above each image, in up to three lines.
	// Captions are cut where there is no room for them, and ignored if there are too many.
	Rows, Heads, Names []string
}

const (
	captionMargin   = 6    // pixels next to a caption
	captionWidth    = 180  // pixels of a row's caption, if it fits into the row's height
	maxCaptionWidth = 480  // else
	maxNameLines    = 3    // of a caption above an image
	minTile         = 112  // pixels a side of an image, where the scale is left open
	maxScaleOrGap   = 1024 // pixels
)

// Render returns the sheet of images, which must all have one size and number of channels. The
// place of one that is nil, which the first may not be, stays white.
func (l Layout) Render(images []*raster.Image) (*raster.Image, error) {
	if len(images) == 0 || images[0] == nil || l.Columns <= 0 ||
		l.Scale < 0 || l.Scale > maxScaleOrGap || l.Gap < 0 || l.Gap > maxScaleOrGap {
		return nil, fmt.Errorf("sheet of %d images, %d columns, scale %d, gap %d: "+
			"want 1 image and 1 column or more, scale and gap 0 to %d",
			len(images), l.Columns, l.Scale, l.Gap, maxScaleOrGap)
	}
	first := images[0]
	for i, m := range images {
		if m != nil && (m.Height != first.Height || m.Width != first.Width || m.Channels != first.Channels) {
			return nil, fmt.Errorf("sheet: image %d is %dx%dx%d, image 0 %dx%dx%d", i,
				m.Height, m.Width, m.Channels, first.Height, first.Width, first.Channels)
		}
	}
	g, err := l.grid(len(images), first)
	if err != nil {
		return nil, err
	}
	out, err := raster.New(g.height(), g.width(), first.Channels)
	if err != nil {
		return nil, fmt.Errorf("sheet: %w", err)
	}
	captions := image.NewGray(image.Rect(0, 0, out.Width, out.Height))
	draw.Draw(captions, captions.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	for i, text := range l.Rows[:min(len(l.Rows), g.rows)] {
		g.font.drawLines(captions, text, image.Rect(captionMargin, g.y(i), g.left-captionMargin, g.y(i)+g.tileHeight), false)
	}
	for i, text := range l.Heads[:min(len(l.Heads), g.columns)] {
		g.font.draw(captions, text, image.Rect(g.x(i), 0, g.x(i)+g.tileWidth, g.top), true)
	}
	for i, text := range l.Names[:min(len(l.Names), len(images))] {
		x, y := g.x(i%l.Columns), g.y(i/l.Columns)
		g.font.drawLines(captions, text, image.Rect(x, y-g.name, x+g.tileWidth, y), true)
	}
	for i := range out.Pix {
		out.Pix[i] = captions.Pix[i/out.Channels]
	}
	for i, m := range images {
		if m == nil {
			continue
		}
		paste(out, m, g.y(i/l.Columns), g.x(i%l.Columns), g.scale)
	}
	return out, nil
}

// paste copies m into dst at (y, x), each pixel scale x scale.
func paste(dst, m *raster.Image, y, x, scale int) {
	c := m.Channels
	for i := range m.Height * scale {
		from, to := m.Row(i/scale), dst.Row(y + i)[x*c:]
		for j := range m.Width * scale {
			copy(to[j*c:][:c], from[j/scale*c:])
		}
	}
}

// grid is where everything is on a sheet, in pixels.
type grid struct {
	rows, columns         int
	tileHeight, tileWidth int
	top, left             int // room for the captions of columns and rows
	name                  int // room for that above each image
	gap, scale            int
	font                  *captionFont
}

func (l Layout) grid(images int, m *raster.Image) (*grid, error) {
	g := &grid{
		rows:    (images + l.Columns - 1) / l.Columns,
		columns: min(l.Columns, images),
		gap:     l.Gap,
		scale:   l.Scale,
	}
	if g.gap == 0 {
		g.gap = 2
	}
	if g.scale == 0 {
		side := max(m.Height, m.Width)
		g.scale = min((minTile+side-1)/side, 4)
	}
	g.tileHeight, g.tileWidth = m.Height*g.scale, m.Width*g.scale
	var err error
	if g.font, err = newCaptionFont(); err != nil {
		return nil, err
	}
	if len(l.Heads) > 0 {
		g.top = g.font.height() + captionMargin
	}
	for _, text := range l.Names {
		lines := len(g.font.lines(text, g.tileWidth))
		g.name = max(g.name, min(lines, maxNameLines)*g.font.height())
	}
	for _, text := range l.Rows {
		g.left = max(g.left, g.font.block(text, g.tileHeight)+2*captionMargin)
	}
	return g, nil
}

func (g *grid) y(row int) int    { return g.top + g.gap + g.name + row*(g.tileHeight+g.gap+g.name) }
func (g *grid) x(column int) int { return g.left + g.gap + column*(g.tileWidth+g.gap) }
func (g *grid) height() int      { return g.y(g.rows) - g.name }
func (g *grid) width() int       { return g.x(g.columns) }
