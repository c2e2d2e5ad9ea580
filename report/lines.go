package report

import (
	"math"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// Lines is a panel of quantities over the steps of a run, or over other whole numbers.
type Lines struct {
	Title, X, Y string
	Names       []string    // for the legend; may be left out for one line
	Values      [][]float64 // of each line; NaN: no point
	XLabel      []int       // what the steps are, where not 0, 1, 2, ...
	Zero        bool        // the axis begins at 0
	One         bool        // it goes up to 1
}

func (l Lines) scale() *Scale { return nil }

func (l Lines) plot() (*chart.Plot, error) {
	n, low, high := 1, math.Inf(1), math.Inf(-1)
	for _, values := range l.Values {
		n = max(n, len(values))
		for _, v := range values {
			if !math.IsNaN(v) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if low > high {
		low, high = 0, 1
	}
	if l.Zero {
		low = min(low, 0)
	}
	y := chart.Around(low, high, 0.04)
	if l.One {
		y.Max = max(high, 1)
	}
	x := columnAxis(n)
	return &chart.Plot{
		Title:  l.Title,
		XLabel: l.X,
		YLabel: l.Y,
		X:      x,
		Y:      y,
		XTicks: relabel(x.Ticks(wideTicks), l.XLabel),
		Head:   true,
	}, nil
}

func (l Lines) paint(d *chart.Drawing, p *chart.Plot) {
	var keys []chart.Key
	for i, values := range l.Values {
		c := chart.Series[i%len(chart.Series)]
		line := chart.Style{Stroke: c, Width: 2}
		var points []chart.Point
		for x, v := range values {
			if !math.IsNaN(v) {
				points = append(points, p.At(float64(x), v))
			}
		}
		d.Path(chart.Line(points...), line)
		for _, at := range points {
			d.Circle(at, 2.6, chart.Style{Fill: c})
		}
		if i < len(l.Names) {
			keys = append(keys, chart.Stroke(l.Names[i], line))
		}
	}
	d.LegendRow(p.Box.Right, p.HeadLine(), keys)
}
