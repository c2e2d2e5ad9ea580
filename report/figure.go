package report

import (
	"fmt"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// Figure is several panels in one image, row by row. The axes of the panels of a column stand
// below each other.
type Figure struct {
	Title  string
	Note   string // below the title, smaller
	Width  int    // pixels; 0: 1200
	Rows   [][]Panel
	Height []int // of each row, pixels
}

// Panel is a part of a figure: Heat, Tiles, Lines or StepBars.
type Panel interface {
	// plot returns the panel's axes, without their place.
	plot() (*chart.Plot, error)
	// paint draws the panel's data.
	paint(d *chart.Drawing, p *chart.Plot)
	// scale returns what the panel's colours mean, or nil.
	scale() *Scale
}

const (
	figureWidth  = 1200
	figureMargin = 14
	panelGap     = 28 // between panels

	wideTicks, narrowTicks = 26, 8 // max, below a panel
)

// figureTitle is the style of titles of figures, of which the panels have smaller ones.
var figureTitle = chart.TextStyle{Size: 18, Color: chart.Ink}

// Write draws the figure as a PNG file.
func (f Figure) Write(path string) error {
	d, err := f.draw()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return writePNG(path, d, 1)
}

func (f Figure) draw() (*chart.Drawing, error) {
	if f.Width == 0 {
		f.Width = figureWidth
	}
	head := 40.0
	if f.Note != "" {
		head = 58
	}
	height := head + 12
	for _, h := range f.Height {
		height += float64(h)
	}
	d := chart.New(float64(f.Width), height, f.Title)
	room := d.Width - 2*figureMargin
	d.Text(chart.Point{X: figureMargin, Y: 27}, chart.Fit(f.Title, figureTitle.Size, room), figureTitle)
	d.Text(chart.Point{X: figureMargin, Y: 47}, chart.Fit(f.Note, chart.Note.Size, room), chart.Note)
	all, err := f.place(head)
	if err != nil {
		return nil, err
	}
	alignColumns(all)
	for _, row := range all {
		for _, p := range row {
			p.plot.Axes(d)
			p.panel.paint(d, p.plot)
			if s := p.panel.scale(); s != nil {
				s.bar(d, p.plot)
			}
		}
	}
	return d, nil
}

// placed is a panel with its axes.
type placed struct {
	panel Panel
	plot  *chart.Plot
}

// place gives each panel its box, the first row's below top.
func (f Figure) place(top float64) ([][]placed, error) {
	var all [][]placed
	for i, row := range f.Rows {
		var list []placed
		width := (float64(f.Width) - 2*figureMargin + panelGap) / float64(len(row))
		for j, panel := range row {
			p, err := panel.plot()
			if err != nil {
				return nil, err
			}
			left := figureMargin + float64(j)*width
			p.Box = chart.Box{Left: left, Top: top, Right: left + width - panelGap, Bottom: top + float64(f.Height[i]) - 6}
			list = append(list, placed{panel, p})
		}
		all, top = append(all, list), top+float64(f.Height[i])
	}
	return all, nil
}

// alignColumns lays the panels out so that the axes of a column begin and end below each other,
// with room for colour bars.
func alignColumns(all [][]placed) {
	type edges struct{ left, right float64 }
	columns := make(map[[2]int]edges) // rows of as many panels have the same columns
	for _, row := range all {
		for j, p := range row {
			p.plot.Layout()
			e := columns[[2]int{len(row), j}]
			e.left = max(e.left, p.plot.Left)
			if p.panel.scale() != nil {
				e.right = barRoom
			}
			columns[[2]int{len(row), j}] = e
		}
	}
	widest := edges{}
	for _, e := range columns {
		widest = edges{max(widest.left, e.left), max(widest.right, e.right)}
	}
	for _, row := range all {
		for j, p := range row {
			e := columns[[2]int{len(row), j}]
			if len(row) == 1 {
				e = widest
			}
			p.plot.Left, p.plot.Right = e.left, e.right
			p.plot.Layout()
		}
	}
}
