package chart

// Markers is the number of different markers.
const Markers = 8

// Marker draws one of the markers about a point: filled for the first three, hollow for the next
// three, and two of lines. Class and Tip are those of Style.
func (d *Drawing) Marker(kind int, at Point, radius float64, c Color, class, tip string) {
	full := Style{Fill: c, Stroke: Paper, Width: 0.8, Class: class, Tip: tip}
	hollow := Style{Fill: Paper, Stroke: c, Width: 1.8, Class: class, Tip: tip}
	lines := Style{Stroke: c, Width: 1.8, Class: class, Tip: tip}
	corner := func(x, y float64) Point { return Point{at.X + x*radius, at.Y + y*radius} }
	square := Polygon(corner(-0.9, -0.9), corner(0.9, -0.9), corner(0.9, 0.9), corner(-0.9, 0.9))
	triangle := Polygon(corner(0, -1.15), corner(1.1, 0.8), corner(-1.1, 0.8))
	switch kind {
	case 0:
		d.Circle(at, radius, full)
	case 1:
		d.Path(square, full)
	case 2:
		d.Path(triangle, full)
	case 3:
		d.Circle(at, radius, hollow)
	case 4:
		d.Path(square, hollow)
	case 5:
		d.Path(triangle, hollow)
	case 6:
		d.Path(Path{
			{Points: []Point{corner(-1.2, 0), corner(1.2, 0)}},
			{Points: []Point{corner(0, -1.2), corner(0, 1.2)}},
		}, lines)
	default:
		d.Path(Path{
			{Points: []Point{corner(-1, -1), corner(1, 1)}},
			{Points: []Point{corner(-1, 1), corner(1, -1)}},
		}, lines)
	}
}
