package report

import (
	"fmt"
	"image"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Heat is a panel that shows a matrix in colours, its first row on top.
type Heat struct {
	Title, X, Y    string
	Values         [][]float64 // rows; NaN is grey
	XLabel, YLabel []int       // what columns and rows are, where not 0, 1, 2, ...
	Narrow         bool        // there is room for few marks below it
	Scale
}

func (h Heat) bar() *colorBar { return &colorBar{newColors(h.over(h.Values...))} }

func (h Heat) plot() (*plot.Plot, error) {
	if len(h.Values) == 0 || len(h.Values[0]) == 0 {
		return nil, fmt.Errorf("panel %q has no values", h.Title)
	}
	p := newPlot(h.Title, h.X, h.Y)
	rows, columns := len(h.Values), len(h.Values[0])
	p.Add(&cells{rows, columns, h.bar().colors, func(row, column int) float64 { return h.Values[row][column] }})
	marks := wideMarks
	if h.Narrow {
		marks = narrowMarks
	}
	p.X.Tick.Marker = plot.ConstantTicks(relabel(indexTicks(columns, marks), h.XLabel))
	p.Y.Tick.Marker = plot.ConstantTicks(fromTop(relabel(indexTicks(rows, 16), h.YLabel), rows))
	return p, nil
}

// relabel gives ticks at indices the labels of what is there.
func relabel(ticks []plot.Tick, labels []int) []plot.Tick {
	for i := range ticks {
		if labels != nil {
			ticks[i].Label = fmt.Sprint(labels[int(ticks[i].Value)])
		}
	}
	return ticks
}

// fromTop turns ticks around for an axis whose first of n values is on top.
func fromTop(ticks []plot.Tick, n int) []plot.Tick {
	for i := range ticks {
		ticks[i].Value = float64(n-1) - ticks[i].Value
	}
	return ticks
}

// cells draws a matrix: cell (row, column) is centred at x = column, y = rows-1-row.
type cells struct {
	rows, columns int
	colors
	value func(row, column int) float64
}

// DataRange implements plot.DataRanger.
func (m *cells) DataRange() (xmin, xmax, ymin, ymax float64) {
	return -0.5, float64(m.columns) - 0.5, -0.5, float64(m.rows) - 0.5
}

// Plot implements plot.Plotter.
func (m *cells) Plot(c draw.Canvas, p *plot.Plot) {
	drawCells(c, p, m.rows, m.columns, -0.5, -0.5, float64(m.columns)-0.5, float64(m.rows)-0.5, func(row, column int) color.Color { return m.of(m.value(row, column)) })
}

// drawCells fills the rectangle from (x0, y0) to (x1, y1), in data's coordinates, with equal cells: as a picture of whole pixels, which has no seams.
func drawCells(c draw.Canvas, p *plot.Plot, rows, columns int, x0, y0, x1, y1 float64, at func(row, column int) color.Color) {
	toX, toY := p.Transforms(&c)
	area := vg.Rectangle{Min: vg.Point{X: toX(x0), Y: toY(y0)}, Max: vg.Point{X: toX(x1), Y: toY(y1)}}
	width, height := max(int(area.Size().X/pixel+0.5), 1), max(int(area.Size().Y/pixel+0.5), 1)
	colors := make([]color.Color, rows*columns)
	for i := range colors {
		colors[i] = at(i/columns, i%columns)
	}
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.Set(x, y, colors[y*rows/height*columns+x*columns/width])
		}
	}
	c.DrawImage(area, picture)
}

// Tiles is a panel of small maps of the token grid, for some blocks, the rows, at some steps, the columns.
type Tiles struct {
	Title, X, Y string
	Rows, Cols  []int         // blocks and steps
	Values      [][][]float64 // of each row and column: the tokens in reading order, Side x Side
	Side        int
	Scale
}

func (t Tiles) bar() *colorBar {
	var all [][]float64
	for _, row := range t.Values {
		all = append(all, row...)
	}
	return &colorBar{newColors(t.over(all...))}
}

func (t Tiles) plot() (*plot.Plot, error) {
	if len(t.Rows) == 0 || len(t.Cols) == 0 || t.Side < 1 {
		return nil, fmt.Errorf("panel %q has no values", t.Title)
	}
	p := newPlot(t.Title, t.X, t.Y)
	p.Add(&tiles{t, t.bar().colors})
	var x, y []plot.Tick
	for i, v := range t.Cols {
		x = append(x, plot.Tick{Value: float64(i), Label: fmt.Sprint(v)})
	}
	for i, v := range t.Rows {
		y = append(y, plot.Tick{Value: float64(len(t.Rows) - 1 - i), Label: fmt.Sprint(v)})
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(x), plot.ConstantTicks(y)
	return p, nil
}

type tiles struct {
	Tiles
	colors colors
}

// DataRange implements plot.DataRanger.
func (t *tiles) DataRange() (xmin, xmax, ymin, ymax float64) {
	return -0.5, float64(len(t.Cols)) - 0.5, -0.5, float64(len(t.Rows)) - 0.5
}

// Plot implements plot.Plotter. Tiles are square, as large as fits.
func (t *tiles) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	perX, perY := float64(toX(1)-toX(0)), float64(toY(1)-toY(0))
	side := 0.92 * min(perX, perY)
	dx, dy := side/perX/2, side/perY/2
	for i := range t.Rows {
		for j := range t.Cols {
			x, y := float64(j), float64(len(t.Rows)-1-i)
			drawCells(c, p, t.Side, t.Side, x-dx, y-dy, x+dx, y+dy, func(row, column int) color.Color { return t.colors.of(t.Values[i][j][row*t.Side+column]) })
		}
	}
}
