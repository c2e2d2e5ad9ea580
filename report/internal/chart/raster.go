package chart

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// Canvas is an image that shapes and texts are drawn on, white at first, in light colours.
type Canvas struct {
	*image.RGBA
	scale float64 // pixels of the image in a pixel of a drawing
	faces map[float64]font.Face
}

// NewCanvas returns a white canvas of a size in pixels.
func NewCanvas(width, height int) *Canvas {
	c := &Canvas{
		RGBA:  image.NewRGBA(image.Rect(0, 0, width, height)),
		scale: 1,
		faces: make(map[float64]font.Face),
	}
	draw.Draw(c, c.Bounds(), image.NewUniform(Paper.Light), image.Point{}, draw.Src)
	return c
}

// Render returns the drawing with scale pixels of the image for each of its own.
func (d *Drawing) Render(scale float64) *image.RGBA {
	c := NewCanvas(int(math.Ceil(d.Width*scale)), int(math.Ceil(d.Height*scale)))
	c.scale = scale
	for i := range d.items {
		c.draw(&d.items[i])
	}
	return c.RGBA
}

func (c *Canvas) draw(i *item) {
	switch s := &i.style; {
	case i.text != nil:
		c.Text(i.text.at, i.text.text, i.text.style)
	case i.box != nil:
		c.rect(*i.box, s)
	case i.radius > 0:
		c.path(circle(i.centre, i.radius), s)
	default:
		c.path(i.path, s)
	}
}

// circle returns a polygon that is no further than a fiftieth of a pixel from a circle of a
// marker's size.
func circle(centre Point, radius float64) Path {
	const n = 40
	points := make([]Point, n)
	for i := range points {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / n)
		points[i] = Point{centre.X + radius*cos, centre.Y + radius*sin}
	}
	return Polygon(points...)
}

// rect fills a rectangle with its edges on whole pixels.
func (c *Canvas) rect(b Box, s *Style) {
	round := func(v float64) int { return int(math.Round(v * c.scale)) }
	area := image.Rect(round(b.Left), round(b.Top), round(b.Right), round(b.Bottom))
	draw.Draw(c, area, image.NewUniform(opaque(s.Fill, s.Opacity)), image.Point{}, draw.Over)
}

func (c *Canvas) path(p Path, s *Style) {
	if s.Fill.paints() {
		polygons := make([][]Point, len(p))
		for i := range p {
			polygons[i] = p[i].Points
		}
		c.fill(polygons, opaque(s.Fill, s.Opacity))
	}
	if s.Stroke.paints() {
		c.fill(outline(dashed(p, s.Dash), s.Width), opaque(s.Stroke, s.Opacity))
	}
}

// opaque returns a colour with an opacity, 0 being that of opaque.
func opaque(c Color, opacity float64) color.Color {
	if opacity == 0 {
		opacity = 1
	}
	l := c.Light
	return color.NRGBA{R: l.R, G: l.G, B: l.B, A: uint8(math.Round(opacity * float64(l.A)))}
}

// fill fills polygons of the same orientation as one area. What is outside of the canvas is cut.
func (c *Canvas) fill(polygons [][]Point, with color.Color) {
	size := c.Bounds().Size()
	inside := func(p Point) (x, y float64) {
		return min(max(p.X*c.scale, 0), float64(size.X)), min(max(p.Y*c.scale, 0), float64(size.Y))
	}
	left, top, right, bottom := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, polygon := range polygons {
		for _, p := range polygon {
			x, y := inside(p)
			left, top, right, bottom = min(left, x), min(top, y), max(right, x), max(bottom, y)
		}
	}
	if !(left < right && top < bottom) {
		return
	}
	area := image.Rect(int(left), int(top), int(math.Ceil(right)), int(math.Ceil(bottom)))
	r := vector.NewRasterizer(area.Dx(), area.Dy())
	for _, polygon := range polygons {
		for i, p := range polygon {
			x, y := inside(p)
			x, y = x-float64(area.Min.X), y-float64(area.Min.Y)
			if i == 0 {
				r.MoveTo(float32(x), float32(y))
			} else {
				r.LineTo(float32(x), float32(y))
			}
		}
		r.ClosePath()
	}
	r.Draw(c, area, image.NewUniform(with), image.Point{})
}

// Text draws a line of text with its baseline at a point.
func (c *Canvas) Text(at Point, s string, style TextStyle) {
	size := style.Size * c.scale
	face := c.faces[size]
	if face == nil {
		face = newFace(size)
		c.faces[size] = face
	}
	x, y := at.X*c.scale, math.Round(at.Y*c.scale)
	switch width := float64(font.MeasureString(face, s)) / 64; style.Anchor {
	case Middle:
		x -= width / 2
	case End:
		x -= width
	}
	d := font.Drawer{
		Dst:  c,
		Src:  image.NewUniform(style.Color.Light),
		Face: face,
		Dot:  fixed.Point26_6{X: fixed.Int26_6(math.Round(x * 64)), Y: fixed.I(int(y))},
	}
	d.DrawString(s)
}
