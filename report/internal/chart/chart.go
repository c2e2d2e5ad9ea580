// Package chart draws charts.
//
// A Drawing is a list of shapes and texts in pixels. It is the one description of a chart: SVG
// renders it as a file, Inline as a part of a page that follows the reader's light or dark
// colours, and Render as pixels. A Plot places data in a Drawing: it has two axes with their
// ticks and names. The palette and the tick maker are in this package and nowhere else.
package chart

// Point is a place in a drawing, in pixels from its upper left corner; y grows downwards.
type Point struct{ X, Y float64 }

// Box is a rectangle in a drawing.
type Box struct{ Left, Top, Right, Bottom float64 }

// Width returns the distance from the left edge to the right one.
func (b Box) Width() float64 { return b.Right - b.Left }

// Height returns the distance from the top edge to the bottom one.
func (b Box) Height() float64 { return b.Bottom - b.Top }

// Contour is a line through points, or a polygon if it is closed.
type Contour struct {
	Points []Point
	Closed bool
}

// Path is one or more contours that are filled and stroked together.
type Path []Contour

// Line returns the path through points.
func Line(points ...Point) Path { return Path{{Points: points}} }

// Polygon returns the closed path through points.
func Polygon(points ...Point) Path { return Path{{Points: points, Closed: true}} }

// Style is how a shape is painted. The zero Style paints nothing.
type Style struct {
	Fill    Color
	Stroke  Color
	Width   float64   // of the stroke, pixels
	Dash    []float64 // lengths of dashes and gaps, pixels; nil: a solid stroke
	Opacity float64   // of fill and stroke; 0: opaque
	Class   string    // further CSS classes of the shape in SVG
	Tip     string    // text that SVG shows where the pointer rests
}

// Anchor is the part of a text that stands at its position.
type Anchor int

// Anchors of a text.
const (
	Start Anchor = iota
	Middle
	End
)

// TextStyle is how a line of text is written.
type TextStyle struct {
	Size   float64 // pixels
	Color  Color
	Anchor Anchor
}

// Styles of texts.
var (
	Title = TextStyle{Size: 15, Color: Ink}
	Label = TextStyle{Size: 12.5, Color: Ink}
	Name  = TextStyle{Size: 12, Color: Ink}  // of an entry
	Note  = TextStyle{Size: 12, Color: Soft} // and names of ticks
)

// At returns the style with another anchor.
func (s TextStyle) At(a Anchor) TextStyle {
	s.Anchor = a
	return s
}

// text is a line of text with its baseline at a point.
type text struct {
	at    Point
	text  string
	style TextStyle
}

// Drawing is shapes and texts in the order in which they are painted.
type Drawing struct {
	Width  float64
	Height float64
	Label  string // what is drawn, for readers that do not see it; empty: a decoration
	items  []item
}

// item is one of: path, box, disc, text.
type item struct {
	path   Path
	box    *Box
	centre Point
	radius float64 // above 0: a disc
	text   *text
	style  Style
}

// New returns an empty drawing of a size in pixels.
func New(width, height float64, label string) *Drawing {
	return &Drawing{Width: width, Height: height, Label: label}
}

// Path adds a path.
func (d *Drawing) Path(p Path, s Style) { d.items = append(d.items, item{path: p, style: s}) }

// Rect adds a rectangle. Its edges are put on whole pixels, so that neighbours have no seam.
func (d *Drawing) Rect(b Box, s Style) { d.items = append(d.items, item{box: &b, style: s}) }

// Circle adds a circle.
func (d *Drawing) Circle(centre Point, radius float64, s Style) {
	d.items = append(d.items, item{centre: centre, radius: radius, style: s})
}

// Text adds a line of text with its baseline at a point.
func (d *Drawing) Text(at Point, s string, style TextStyle) {
	d.items = append(d.items, item{text: &text{at, s, style}})
}
