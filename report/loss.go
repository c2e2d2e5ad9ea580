package report

import (
	"math"
	"slices"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// Curve is a quantity over the updates of a training run.
type Curve struct {
	Name   string
	Steps  []int
	Values []float64
}

// LossCurve writes a PNG of quantities over a training run, as they were and smoothed. The values'
// axis is logarithmic if all are positive. It writes nothing if no curve has two finite values.
func LossCurve(path string, first Curve, more ...Curve) error {
	d := lossDrawing(append([]Curve{first}, more...))
	if d == nil {
		return nil
	}
	return writePNG(path, d, pngScale)
}

// lossDrawing returns the chart of curves, nil if there is nothing to draw.
func lossDrawing(curves []Curve) *chart.Drawing {
	const width, height, margin, maxPoints = 672, 384, 14, 2000
	title := "training " + curves[0].Name
	x0, x1, y0, y1 := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	raw, smooth := make([][]chart.Point, len(curves)), make([][]chart.Point, len(curves))
	for i, c := range curves {
		raw[i], smooth[i] = c.points()
		if len(raw[i]) < 2 {
			raw[i], smooth[i] = nil, nil
			continue
		}
		raw[i], smooth[i] = thin(raw[i], maxPoints), thin(smooth[i], maxPoints)
		for _, at := range slices.Concat(raw[i], smooth[i]) {
			x0, x1, y0, y1 = min(x0, at.X), max(x1, at.X), min(y0, at.Y), max(y1, at.Y)
		}
	}
	if x0 > x1 {
		return nil
	}
	d := chart.New(width, height, title)
	p := &chart.Plot{
		Box:    chart.Box{Left: margin, Top: 8, Right: width - margin, Bottom: height - 6},
		Title:  title,
		XLabel: "update",
		YLabel: curves[0].Name,
		X:      chart.Around(x0, x1, 0),
		Y:      lossAxis(y0, y1),
	}
	p.X.Whole = true
	p.Layout()
	p.Axes(d)
	place := func(points []chart.Point) chart.Path {
		placed := make([]chart.Point, len(points))
		for i, at := range points {
			placed[i] = p.At(at.X, at.Y)
		}
		return chart.Line(placed...)
	}
	var keys []chart.Key
	for i := range curves {
		c := chart.Series[i%len(chart.Series)]
		d.Path(place(raw[i]), chart.Style{Stroke: c, Width: 0.8, Opacity: 0.3})
	}
	for i, c := range curves {
		line := chart.Style{Stroke: chart.Series[i%len(chart.Series)], Width: 2}
		d.Path(place(smooth[i]), line)
		if len(curves) > 1 && smooth[i] != nil {
			keys = append(keys, chart.Stroke(c.Name, line))
		}
	}
	d.LegendRow(p.Area.Right, p.HeadLine(), keys)
	return d
}

// lossAxis returns a logarithmic axis if low is positive.
func lossAxis(low, high float64) chart.Axis {
	if low <= 0 {
		return chart.Around(low, high, 0.03)
	}
	if high < low*1.01 {
		low, high = low/1.1, high*1.1
	}
	pad := math.Pow(high/low, 0.03)
	return chart.Axis{Min: low / pad, Max: high * pad, Log: true}
}

// points returns the finite values over their updates, and their running mean: over the last
// tenth of the run so far, at most 200 updates.
func (c *Curve) points() (raw, smooth []chart.Point) {
	mean := 0.0
	for i, v := range c.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		mean += (v - mean) / float64(min(1+i/10, 200))
		x := float64(c.Steps[i])
		raw, smooth = append(raw, chart.Point{X: x, Y: v}), append(smooth, chart.Point{X: x, Y: mean})
	}
	return raw, smooth
}

// thin returns about n of the points, evenly taken, or all if they are fewer.
func thin(points []chart.Point, n int) []chart.Point {
	step := max(1, len(points)/n)
	var few []chart.Point
	for i := 0; i < len(points); i += step {
		few = append(few, points[i])
	}
	return few
}
