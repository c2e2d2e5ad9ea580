package report

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/report/internal/chart"
)

// stepTime is small charts of the time of each step, of one cell per method, to the same scale.
type stepTime struct {
	series []series // with one cell each
	middle float64  // the speed-up that the cells are nearest to
	top    float64  // ms, of the longest step
	base   float64  // ms, of the uncached model's median step; 0: not timed
}

func timed(cell *Cell) bool { return len(cell.StepMillis) > 0 }

// stepTime returns the charts, false if no step was timed.
func (r *Results) stepTime() (stepTime, bool) {
	var s stepTime
	s.series, s.middle = r.chosen(timed)
	if len(s.series) == 0 {
		return s, false
	}
	if b := r.baseline(); b != nil && timed(b) {
		s.base = median.Of(b.StepMillis)
	}
	s.top = max(s.base, 1e-9)
	for _, one := range s.series {
		s.top = max(s.top, slices.Max(one.cells[0].StepMillis))
	}
	return s, true
}

// title names the chart of a series.
func (s *stepTime) title(one *series) string {
	return fmt.Sprintf("%s, %s", one.Name, times(one.cells[0].Speedup))
}

// file returns all charts in one drawing.
func (s *stepTime) file() *chart.Drawing {
	const columns, width, margin, gap, head, row = 3, 720.0, 14.0, 10.0, 66.0, 148.0
	rows := (len(s.series) + columns - 1) / columns
	d := chart.New(width, head+row*float64(rows)+8, "Time of each step")
	d.Text(chart.Point{X: margin, Y: 26}, "Time of each step (ms)", chart.Title)
	note := fmt.Sprintf("The policy of each method whose speed-up is nearest to %s.", times(s.middle))
	if s.base > 0 {
		note += " Dashed: the uncached model."
	}
	d.Text(chart.Point{X: margin, Y: 46}, note, chart.Note)
	cell := (width - 2*margin + gap) / columns
	for i := range s.series {
		left, top := margin+cell*float64(i%columns), head+row*float64(i/columns)
		box := chart.Box{Left: left, Top: top, Right: left + cell - gap, Bottom: top + row - 14}
		s.draw(d, box, &s.series[i])
		title := chart.Fit(s.title(&s.series[i]), chart.Label.Size, box.Width())
		d.Text(chart.Point{X: left, Y: top + 8}, title, chart.Label)
	}
	return d
}

// inline returns the chart of a series for the page, which has its title in HTML.
func (s *stepTime) inline(one *series) *chart.Drawing {
	const width, height = 300, 114
	d := chart.New(width, height, "time of each step, "+one.Name)
	s.draw(d, chart.Box{Top: -20, Right: width, Bottom: height}, one)
	return d
}

// draw draws the chart of a series below an empty line.
func (s *stepTime) draw(d *chart.Drawing, box chart.Box, one *series) {
	steps := one.cells[0].StepMillis
	end := float64(len(steps)) + 0.5
	p := chart.Plot{
		Box:  box,
		X:    chart.Axis{Min: 0.5, Max: end, Whole: true},
		Y:    chart.Axis{Max: s.top * 1.06},
		Head: true,
	}
	p.Layout()
	p.Axes(d)
	points := []chart.Point{p.At(0.5, 0)}
	for i, ms := range steps {
		points = append(points, p.At(float64(i)+0.5, ms), p.At(float64(i)+1.5, ms))
	}
	points = append(points, p.At(end, 0))
	d.Path(chart.Polygon(points...), chart.Style{Fill: one.color(), Opacity: 0.4, Class: one.class()})
	d.Path(chart.Line(points...), chart.Style{Stroke: one.color(), Width: 0.9, Class: one.class()})
	if s.base > 0 {
		d.Path(chart.Line(p.At(0.5, s.base), p.At(end, s.base)), frontStyle)
	}
}
