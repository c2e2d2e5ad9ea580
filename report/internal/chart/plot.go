package chart

const (
	titleRoom  = 24.0 // above a plot, for its title
	headRoom   = 19.0 // above a plot, for the name of its y axis, its unit or its legend
	tickRoom   = 20.0 // below a plot, for the names of ticks
	labelRoom  = 19.0 // below those, for the name of the x axis
	tickGap    = 7.0  // from the plot to the names of y ticks
	edge       = 8.0  // around the data, for half a tick's name
	maxLeft    = 0.4  // of the width, for the names of y ticks
	pxPerXTick = 60
	pxPerYTick = 30
)

// Plot is a rectangle of data with axes.
type Plot struct {
	Box    Box    // that everything is in
	Title  string // may be empty, as may the other names
	XLabel string // below the axis
	YLabel string // above the axis, so that no text is rotated
	X, Y   Axis
	XTicks []Tick // nil: as many round numbers as there is room for
	YTicks []Tick
	NoGrid bool    // ticks stand outside of the data
	Left   float64 // room for the names of y ticks; 0: what they need
	Right  float64 // further room at the right
	Head   bool    // there is room above the data even without YLabel

	Area Box // of the data, set by Layout
}

// Layout places the data in the box. It must be called before any other method.
func (p *Plot) Layout() {
	p.Area = p.Box
	if p.Title != "" {
		p.Area.Top += titleRoom
	}
	if p.YLabel != "" || p.Head {
		p.Area.Top += headRoom
	}
	p.Area.Top += edge
	p.Area.Bottom -= tickRoom
	if p.XLabel != "" {
		p.Area.Bottom -= labelRoom
	}
	if p.YTicks == nil {
		p.YTicks = p.Y.Ticks(min(8, max(4, int(p.Area.Height()/pxPerYTick))))
	}
	if p.Left == 0 {
		p.Left = p.LeftRoom()
	}
	p.Area.Left += p.Left
	p.Area.Right -= p.Right + edge
	if p.XTicks == nil {
		p.XTicks = p.X.Ticks(min(10, max(5, int(p.Area.Width()/pxPerXTick))))
	}
}

// LeftRoom returns the room that the names of the y ticks need.
func (p *Plot) LeftRoom() float64 {
	room := 0.0
	for _, t := range p.YTicks {
		room = max(room, TextWidth(t.Label, Note.Size))
	}
	return min(room, maxLeft*p.Box.Width()) + tickGap + edge
}

// At returns where a point of the data is.
func (p *Plot) At(x, y float64) Point {
	return Point{
		X: p.Area.Left + p.X.At(x)*p.Area.Width(),
		Y: p.Area.Bottom - p.Y.At(y)*p.Area.Height(),
	}
}

// Span returns the box between two points of the data.
func (p *Plot) Span(x0, y0, x1, y1 float64) Box {
	a, b := p.At(x0, y0), p.At(x1, y1)
	return Box{min(a.X, b.X), min(a.Y, b.Y), max(a.X, b.X), max(a.Y, b.Y)}
}

// Axes draws the title, the grid or the ticks, and their names.
func (p *Plot) Axes(d *Drawing) {
	top := p.Box.Top
	if p.Title != "" {
		d.Text(Point{p.Box.Left, top + 16}, Fit(p.Title, Title.Size, p.Box.Width()), Title)
		top += titleRoom
	}
	if p.YLabel != "" {
		d.Text(Point{p.Box.Left, top + 13}, Fit(p.YLabel, Label.Size, p.Box.Width()), Label)
	}
	line := Style{Stroke: Rule, Width: 1}
	for _, t := range p.XTicks {
		x := p.At(t.Value, p.Y.Min).X
		p.tick(d, Point{x, p.Area.Top}, Point{x, p.Area.Bottom}, Point{x, p.Area.Bottom + 4}, line)
		d.Text(Point{x, p.Area.Bottom + 16}, t.Label, Note.At(Middle))
	}
	for _, t := range p.YTicks {
		y := p.At(p.X.Min, t.Value).Y
		p.tick(d, Point{p.Area.Right, y}, Point{p.Area.Left, y}, Point{p.Area.Left - 4, y}, line)
		d.Text(Point{p.Area.Left - tickGap, y + 4}, Fit(t.Label, Note.Size, p.Left-tickGap), Note.At(End))
	}
	if p.XLabel != "" {
		middle := (p.Area.Left + p.Area.Right) / 2
		d.Text(Point{middle, p.Area.Bottom + 16 + labelRoom}, p.XLabel, Label.At(Middle))
	}
}

// tick draws a line of the grid, from far to near, or from near to the outside.
func (p *Plot) tick(d *Drawing, far, near, outside Point, s Style) {
	if p.NoGrid {
		s.Stroke = Soft
		d.Path(Line(near, outside), s)
		return
	}
	d.Path(Line(far, near), s)
}

// HeadLine returns the baseline of the row above the data in which the y axis is named.
func (p *Plot) HeadLine() float64 {
	if p.Title != "" {
		return p.Box.Top + titleRoom + 13
	}
	return p.Box.Top + 13
}
