package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/report/internal/chart"
)

// series is a method's cells of one number format that have numbers, by rising speed-up. Its look
// follows from its place among all methods and is the same in every chart.
type series struct {
	Name  string
	Index int // of the method among all
	cells []*Cell
}

// color returns the series' colour.
func (s *series) color() chart.Color { return chart.Series[s.Index%len(chart.Series)] }

// marker returns the series' marker. There are 64 pairs of colour and marker before one repeats.
func (s *series) marker() int {
	return (s.Index + s.Index/len(chart.Series)) % chart.Markers
}

// class is what the page's script finds a series' shapes by.
func (s *series) class() string { return "s " + s.id() }

func (s *series) id() string { return fmt.Sprintf("g%d", s.Index) }

const markerRadius = 4.6

func (s *series) mark(d *chart.Drawing, at chart.Point, tip string) {
	d.Marker(s.marker(), at, markerRadius, s.color(), s.class(), tip)
}

// key returns the series' entry in legends.
func (s *series) key() chart.Key {
	return chart.Key{Name: s.Name, Draw: func(d *chart.Drawing, left chart.Point) {
		right := chart.Point{X: left.X + chart.SampleWidth, Y: left.Y}
		d.Path(chart.Line(left, right), s.line())
		s.mark(d, chart.Point{X: left.X + chart.SampleWidth/2, Y: left.Y}, "")
	}}
}

// line is the style of the line through the series' markers.
func (s *series) line() chart.Style {
	return chart.Style{Stroke: s.color(), Width: 1.2, Opacity: 0.55, Class: s.class()}
}

// series returns the methods in the order in which they first appear.
func (r *Results) series() []series {
	var all []series
	for i := range r.Cells {
		cell := &r.Cells[i]
		if cell.Base() || cell.Error != "" {
			continue
		}
		at := slices.IndexFunc(all, func(s series) bool { return s.Name == cell.Name() })
		if at < 0 {
			at = len(all)
			all = append(all, series{Name: cell.Name(), Index: at})
		}
		all[at].cells = append(all[at].cells, cell)
	}
	for _, s := range all {
		slices.SortStableFunc(s.cells, func(a, b *Cell) int { return cmp.Compare(a.Speedup, b.Speedup) })
	}
	return all
}

// chosen returns, for charts without room for all cells, each method's cell nearest to the median
// speed-up, and that median. Only cells for which has is true take part.
func (r *Results) chosen(has func(*Cell) bool) ([]series, float64) {
	var speeds []float64
	var all []series
	for _, s := range r.series() {
		s.cells = slices.DeleteFunc(slices.Clone(s.cells), func(cell *Cell) bool { return !has(cell) })
		if len(s.cells) == 0 {
			continue
		}
		all = append(all, s)
		for _, cell := range s.cells {
			speeds = append(speeds, cell.Speedup)
		}
	}
	if len(speeds) == 0 {
		return nil, 0
	}
	middle := median.Of(speeds)
	for i := range all {
		nearest := slices.MinFunc(all[i].cells, func(a, b *Cell) int {
			return cmp.Compare(math.Abs(a.Speedup-middle), math.Abs(b.Speedup-middle))
		})
		all[i].cells = []*Cell{nearest}
	}
	return all, middle
}

// Middle returns, per method, the cell whose speed-up is nearest to the median of all.
func (r *Results) Middle() []*Cell {
	all, _ := r.chosen((*Cell).made)
	var list []*Cell
	for _, s := range all {
		list = append(list, s.cells[0])
	}
	return list
}
