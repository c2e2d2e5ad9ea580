package raster

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
)

// Sheet is how pictures are set out in a grid, row by row, black captions on white.
type Sheet struct {
	Columns int      // pictures per row
	Scale   int      // each pixel becomes Scale x Scale; 0: what brings small pictures nearest to 112 pixels, at most 4
	Gap     int      // white pixels between pictures; 0: 2
	Rows    []string // captions at the left of the rows, cut if too long; those beyond the rows are not drawn
	Heads   []string // captions above the columns, likewise
}

const (
	captionMargin = 6    // pixels beside a caption
	captionWidth  = 180  // of the longest, at the left
	mostPixels    = 1024 // of Scale and of Gap
)

// Draw sets out pictures, which must have one size and number of channels.
func (s Sheet) Draw(pictures []*Image) (*Image, error) {
	if len(pictures) == 0 || s.Columns <= 0 || s.Scale < 0 || s.Scale > mostPixels || s.Gap < 0 || s.Gap > mostPixels {
		return nil, fmt.Errorf("sheet of %d pictures, %d columns, scale %d, gap %d: cannot be drawn", len(pictures), s.Columns, s.Scale, s.Gap)
	}
	first := pictures[0]
	for i, m := range pictures {
		if m.Height != first.Height || m.Width != first.Width || m.Channels != first.Channels {
			return nil, fmt.Errorf("sheet: picture %d is %dx%dx%d, picture 0 %dx%dx%d", i,
				m.Height, m.Width, m.Channels, first.Height, first.Width, first.Channels)
		}
	}
	g, err := s.layOut(len(pictures), first)
	if err != nil {
		return nil, err
	}
	out, err := New(g.height(), g.width(), first.Channels)
	if err != nil {
		return nil, fmt.Errorf("sheet: %w", err)
	}
	captions := image.NewGray(image.Rect(0, 0, out.Width, out.Height))
	draw.Draw(captions, captions.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	for i, text := range s.Rows[:min(len(s.Rows), g.rows)] {
		g.font.draw(captions, text, image.Rect(captionMargin, g.y(i), g.left, g.y(i)+g.tileHeight), false)
	}
	for i, text := range s.Heads[:min(len(s.Heads), g.columns)] {
		g.font.draw(captions, text, image.Rect(g.x(i), 0, g.x(i)+g.tileWidth, g.top), true)
	}
	for i := range out.Pix {
		out.Pix[i] = captions.Pix[i/out.Channels]
	}
	for i, m := range pictures {
		out.paste(m, g.y(i/s.Columns), g.x(i%s.Columns), g.scale)
	}
	return out, nil
}

// paste puts m, enlarged, at (y, x).
func (out *Image) paste(m *Image, y, x, scale int) {
	c := m.Channels
	for i := range m.Height * scale {
		from, to := m.row(i/scale), out.row(y + i)[x*c:]
		for j := range m.Width * scale {
			copy(to[j*c:][:c], from[j/scale*c:])
		}
	}
}

// grid is where everything is on a sheet, in pixels.
type grid struct {
	rows, columns         int
	tileHeight, tileWidth int
	top, left             int // room for the captions
	gap, scale            int
	font                  *captionFont
}

func (s Sheet) layOut(pictures int, m *Image) (*grid, error) {
	g := &grid{rows: (pictures + s.Columns - 1) / s.Columns, columns: min(s.Columns, pictures), gap: s.Gap, scale: s.Scale}
	if g.gap == 0 {
		g.gap = 2
	}
	if g.scale == 0 {
		g.scale = min(max(112/max(m.Height, m.Width), 1), 4)
	}
	g.tileHeight, g.tileWidth = m.Height*g.scale, m.Width*g.scale
	var err error
	if g.font, err = newCaptionFont(); err != nil {
		return nil, err
	}
	if len(s.Heads) > 0 {
		g.top = g.font.height() + captionMargin
	}
	for _, text := range s.Rows {
		g.left = max(g.left, min(g.font.width(text), captionWidth)+2*captionMargin)
	}
	return g, nil
}

func (g *grid) y(row int) int    { return g.top + g.gap + row*(g.tileHeight+g.gap) }
func (g *grid) x(column int) int { return g.left + g.gap + column*(g.tileWidth+g.gap) }
func (g *grid) height() int      { return g.y(g.rows) }
func (g *grid) width() int       { return g.x(g.columns) }
