package report

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// scatter is a chart of quality against speed-up.
type scatter struct {
	Title, Y string
	series   []series
	m        Measure
	front    []*Cell
	base     *quality // the uncached model's, a line across; nil: none
	x, y     chart.Axis
	over     int // cells beyond the upper end of y, which are drawn at it
}

const speedLabel = "wall-clock speed-up (times)"

// scatter returns the chart of a measure, false if nothing of it was measured.
func (r *Results) scatter(m Measure) (scatter, bool) {
	s := scatter{m: m}
	switch m {
	case PSNR:
		s.Title, s.Y = "PSNR to the uncached images against speed-up", "PSNR (dB), higher is better"
	case ConvergedPSNR:
		s.Title, s.Y = "PSNR to the converged solution against speed-up", "PSNR (dB), higher is better"
	case Frechet:
		s.Title, s.Y = "Fréchet distance against speed-up", "Fréchet distance, lower is better"
	}
	if base := r.baseline(); base != nil && m != PSNR {
		s.base = m.of(base)
	}
	var xs, ys []float64
	for _, one := range r.series() {
		one.cells = slices.DeleteFunc(slices.Clone(one.cells), func(cell *Cell) bool {
			return m.of(cell) == nil || cell.Speedup <= 0
		})
		if len(one.cells) == 0 {
			continue
		}
		s.series = append(s.series, one)
		for _, cell := range one.cells {
			q := m.of(cell)
			xs, ys = append(xs, cell.Speedup), append(ys, q.Value, q.Low, q.High)
		}
	}
	if len(xs) == 0 {
		return s, false
	}
	for _, i := range r.Frontier(m) {
		s.front = append(s.front, &r.Cells[i])
	}
	if s.base != nil {
		ys = append(ys, s.base.Low, s.base.High)
	}
	s.x = chart.Around(1, max(slices.Max(xs), 1.2), 0.04)
	s.x.Min = min(1, slices.Min(xs)-0.04)
	s.y = chart.Around(slices.Min(ys), slices.Max(ys), 0.05)
	s.limit()
	return s, true
}

// maxTimes is the distance, in uncached ones, above which the chart marks cells at its edge if
// there are few of them: they would press the others together.
const maxTimes = 4

func (s *scatter) limit() {
	if s.m != Frechet || s.base == nil || s.base.Value <= 0 || s.y.Max <= maxTimes*s.base.Value {
		return
	}
	total, over := 0, 0
	for _, one := range s.series {
		for _, cell := range one.cells {
			total++
			if s.m.of(cell).Value > maxTimes*s.base.Value {
				over++
			}
		}
	}
	if 2*over < total {
		s.over = over
		s.y = chart.Around(s.y.Min, maxTimes*s.base.Value, 0)
	}
}

// beyond reports whether a value is above the upper end of the chart.
func (s *scatter) beyond(v float64) bool { return s.over > 0 && v > s.y.Max }

// inside returns a value, or the end of the chart that it is beyond.
func (s *scatter) inside(v float64) float64 {
	if s.beyond(v) {
		return s.y.Max
	}
	return v
}

// file returns the chart as a file of its own, with its title and a legend.
func (s *scatter) file() *chart.Drawing {
	const width, margin, top = 720, 14, 8
	keys := s.keys()
	room := min(chart.LegendWidth(keys), width*0.36)
	height := max(400, chart.LegendHeight(len(keys))+72)
	d := chart.New(width, height, s.Title)
	p := chart.Plot{
		Box:   chart.Box{Left: margin, Top: top, Right: width - margin - room - 8, Bottom: height - 6},
		Title: s.Title,
	}
	s.draw(d, &p)
	d.Legend(chart.Box{Left: width - margin - room, Top: p.Area.Top, Right: width - margin}, keys)
	return d
}

// inline returns the chart for the page, which has its title and its legend in HTML.
func (s *scatter) inline(width, height float64) *chart.Drawing {
	d := chart.New(width, height, s.Title)
	s.draw(d, &chart.Plot{Box: chart.Box{Right: width, Bottom: height}})
	return d
}

func (s *scatter) draw(d *chart.Drawing, p *chart.Plot) {
	p.X, p.Y, p.XLabel, p.YLabel = s.x, s.y, speedLabel, s.Y
	p.Layout()
	if s.base != nil {
		band := p.Span(s.x.Min, s.inside(s.base.Low), s.x.Max, s.inside(s.base.High))
		d.Rect(band, chart.Style{Fill: chart.Band})
	}
	p.Axes(d)
	if s.base != nil {
		y := s.inside(s.base.Value)
		line := baseStyle
		line.Tip = "the uncached model: " + short(s.base.Value)
		d.Path(chart.Line(p.At(s.x.Min, y), p.At(s.x.Max, y)), line)
	}
	d.Path(chart.Line(s.points(p, s.front)...), frontStyle)
	for i := range s.series {
		s.drawSeries(d, p, &s.series[i])
	}
}

// Lines that are no series.
var (
	baseStyle  = chart.Style{Stroke: chart.Ink, Width: 1.5}
	frontStyle = chart.Style{Stroke: chart.Soft, Width: 1.5, Dash: []float64{5, 4}}
)

// points returns where cells are in the chart.
func (s *scatter) points(p *chart.Plot, cells []*Cell) []chart.Point {
	points := make([]chart.Point, len(cells))
	for i, cell := range cells {
		points[i] = p.At(cell.Speedup, s.inside(s.m.of(cell).Value))
	}
	return points
}

func (s *scatter) drawSeries(d *chart.Drawing, p *chart.Plot, one *series) {
	points := s.points(p, one.cells)
	bar := chart.Style{Stroke: one.color(), Width: 1.2, Opacity: 0.7, Class: one.class()}
	for i, cell := range one.cells {
		q, at := s.m.of(cell), points[i]
		if s.beyond(q.Value) {
			d.Path(arrow(at), chart.Style{Stroke: one.color(), Width: 1.8, Class: one.class()})
			continue
		}
		high, low := p.At(cell.Speedup, s.inside(q.High)), p.At(cell.Speedup, q.Low)
		d.Path(chart.Path{
			{Points: []chart.Point{low, high}},
			{Points: []chart.Point{{X: at.X - 3, Y: high.Y}, {X: at.X + 3, Y: high.Y}}},
			{Points: []chart.Point{{X: at.X - 3, Y: low.Y}, {X: at.X + 3, Y: low.Y}}},
		}, bar)
	}
	d.Path(chart.Line(points...), one.line())
	for i, cell := range one.cells {
		q := s.m.of(cell)
		one.mark(d, points[i], fmt.Sprintf("%s, %s: %s, %s (%s to %s)",
			one.Name, cell.Policy, times(cell.Speedup), short(q.Value), short(q.Low), short(q.High)))
	}
}

// arrow points upwards from above a marker.
func arrow(at chart.Point) chart.Path {
	return chart.Line(
		chart.Point{X: at.X - 4, Y: at.Y - 7},
		chart.Point{X: at.X, Y: at.Y - 12},
		chart.Point{X: at.X + 4, Y: at.Y - 7})
}

// keys returns the legend: the series, then what is no series.
func (s *scatter) keys() []chart.Key {
	var keys []chart.Key
	for i := range s.series {
		keys = append(keys, s.series[i].key())
	}
	keys = append(keys, chart.Stroke("frontier", frontStyle))
	if s.base != nil {
		name := "uncached, 95 %"
		if s.m != Frechet {
			name = "uncached"
		}
		keys = append(keys, chart.Key{Name: name, Draw: func(d *chart.Drawing, left chart.Point) {
			right := chart.Point{X: left.X + chart.SampleWidth, Y: left.Y}
			area := chart.Box{Left: left.X, Top: left.Y - 5, Right: right.X, Bottom: left.Y + 5}
			d.Rect(area, chart.Style{Fill: chart.Band})
			d.Path(chart.Line(left, right), baseStyle)
		}})
	}
	if s.over > 0 {
		name := "above " + short(s.y.Max)
		keys = append(keys, chart.Key{Name: name, Draw: func(d *chart.Drawing, left chart.Point) {
			at := chart.Point{X: left.X + chart.SampleWidth/2, Y: left.Y + 9}
			d.Path(arrow(at), chart.Style{Stroke: chart.Ink, Width: 1.8})
		}})
	}
	return keys
}
