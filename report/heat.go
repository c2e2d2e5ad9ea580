package report

import (
	"fmt"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// Heat is a panel that shows a matrix in colours, its first row on top.
type Heat struct {
	Title, X, Y    string
	Values         [][]float64 // rows; NaN is grey
	XLabel, YLabel []int       // what columns and rows are, where not 0, 1, 2, ...
	Narrow         bool        // there is room for few ticks below it
	Scale
}

func (h Heat) scale() *Scale {
	s := h.over(h.Values...)
	return &s
}

func (h Heat) plot() (*chart.Plot, error) {
	if len(h.Values) == 0 || len(h.Values[0]) == 0 {
		return nil, fmt.Errorf("panel %q has no values", h.Title)
	}
	p := &chart.Plot{
		Title:  h.Title,
		XLabel: h.X,
		YLabel: h.Y,
		X:      columnAxis(len(h.Values[0])),
		Y:      rowAxis(len(h.Values)),
		NoGrid: true,
		Head:   true,
	}
	ticks := wideTicks
	if h.Narrow {
		ticks = narrowTicks
	}
	p.XTicks = relabel(p.X.Ticks(ticks), h.XLabel)
	p.YTicks = relabel(p.Y.Ticks(16), h.YLabel)
	return p, nil
}

func (h Heat) paint(d *chart.Drawing, p *chart.Plot) {
	s := h.scale()
	for i, row := range h.Values {
		for j, v := range row {
			x, y := float64(j), float64(i)
			d.Rect(p.Span(x-0.5, y-0.5, x+0.5, y+0.5), s.fill(v))
		}
	}
}

// columnAxis is the axis of n columns: column i is centred at i.
func columnAxis(n int) chart.Axis { return chart.Axis{Min: -0.5, Max: float64(n) - 0.5, Whole: true} }

// rowAxis is the axis of n rows, the first on top.
func rowAxis(n int) chart.Axis { return chart.Axis{Min: float64(n) - 0.5, Max: -0.5, Whole: true} }

// relabel gives ticks at indices the labels of what is there.
func relabel(ticks []chart.Tick, labels []int) []chart.Tick {
	for i := range ticks {
		if labels != nil {
			ticks[i].Label = fmt.Sprint(labels[int(ticks[i].Value)])
		}
	}
	return ticks
}

// indexed returns a tick with a label at each index.
func indexed(labels []int) []chart.Tick {
	ticks := make([]chart.Tick, len(labels))
	for i, v := range labels {
		ticks[i] = chart.Tick{Value: float64(i), Label: fmt.Sprint(v)}
	}
	return ticks
}

// Tiles is a panel of small maps of the token grid, for some blocks, the rows, at some steps, the
// columns.
type Tiles struct {
	Title, X, Y string
	Rows, Cols  []int         // blocks and steps
	Values      [][][]float64 // of each row and column: the tokens in reading order, [Side, Side]
	Side        int
	Scale
}

func (t Tiles) scale() *Scale {
	var all [][]float64
	for _, row := range t.Values {
		all = append(all, row...)
	}
	s := t.over(all...)
	return &s
}

func (t Tiles) plot() (*chart.Plot, error) {
	if len(t.Rows) == 0 || len(t.Cols) == 0 || t.Side < 1 {
		return nil, fmt.Errorf("panel %q has no values", t.Title)
	}
	return &chart.Plot{
		Title:  t.Title,
		XLabel: t.X,
		YLabel: t.Y,
		X:      columnAxis(len(t.Cols)),
		Y:      rowAxis(len(t.Rows)),
		XTicks: indexed(t.Cols),
		YTicks: indexed(t.Rows),
		NoGrid: true,
		Head:   true,
	}, nil
}

// paint draws square tiles, as large as fits.
func (t Tiles) paint(d *chart.Drawing, p *chart.Plot) {
	s := t.scale()
	cell := p.Span(0, 0, 1, 1)
	token := 0.92 * min(cell.Width(), cell.Height()) / float64(t.Side)
	for i := range t.Rows {
		for j := range t.Cols {
			centre := p.At(float64(j), float64(i))
			left, top := centre.X-token*float64(t.Side)/2, centre.Y-token*float64(t.Side)/2
			for k, v := range t.Values[i][j] {
				x, y := left+token*float64(k%t.Side), top+token*float64(k/t.Side)
				d.Rect(chart.Box{Left: x, Top: y, Right: x + token, Bottom: y + token}, s.fill(v))
			}
		}
	}
}
