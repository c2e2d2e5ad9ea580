package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The page's own charts: paths and texts whose colours the page's style sheet gives, so that they follow the reader's.

// drawing is an SVG of paths below texts.
type drawing struct {
	Size   string // class: wide or narrow, of which a style sheet shows one
	W, H   int
	Title  string
	Paths  []path
	Labels []label
}

type path struct {
	D, Class string
	Tip      string // shown where the pointer rests; may be empty
}

type label struct {
	X, Y, Class, Text string
}

func (d *drawing) path(class, tip, format string, a ...any) {
	d.Paths = append(d.Paths, path{D: fmt.Sprintf(format, a...), Class: class, Tip: tip})
}

func (d *drawing) label(class string, x, y float64, text string) {
	d.Labels = append(d.Labels, label{X: coordinate(x), Y: coordinate(y), Class: class, Text: text})
}

func coordinate(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// marker returns the outline of a series' marker about (x, y) and whether it is filled. The order is that of shapes.
func marker(shape int, x, y, r float64) (outline string, filled bool) {
	round := fmt.Sprintf("M%.1f,%.1fa%.1f,%.1f 0 1 0 %.1f,0a%.1f,%.1f 0 1 0 %.1f,0z", x-r, y, r, r, 2*r, r, r, -2*r)
	square := fmt.Sprintf("M%.1f,%.1fh%.1fv%.1fh%.1fz", x-r*0.9, y-r*0.9, r*1.8, r*1.8, -r*1.8)
	triangle := fmt.Sprintf("M%.1f,%.1fl%.1f,%.1fh%.1fz", x, y-r*1.15, r*1.1, r*1.95, -r*2.2)
	switch shape {
	case 0:
		return round, true
	case 1:
		return square, true
	case 2:
		return triangle, true
	case 3:
		return round, false
	case 4:
		return square, false
	case 5:
		return triangle, false
	case 6:
		return fmt.Sprintf("M%.1f,%.1fh%.1fM%.1f,%.1fv%.1f", x-r*1.2, y, r*2.4, x, y-r*1.2, r*2.4), false
	}
	return fmt.Sprintf("M%.1f,%.1fl%.1f,%.1fM%.1f,%.1fl%.1f,%.1f", x-r, y-r, r*2, r*2, x-r, y+r, r*2, -r*2), false
}

// mark draws a series' marker.
func (d *drawing) mark(s *series, x, y, r float64, tip string) {
	outline, filled := marker(s.Shape, x, y, r)
	class := s.class() + " mark"
	if filled {
		class += " full"
	}
	d.path(class, tip, "%s", outline)
}

// class names a series' colour, and the series itself for what points at it.
func (s *series) class() string { return fmt.Sprintf("s c%d g%d", s.Colour, s.Index) }

// frame is where a chart's data stand in a drawing, and the ranges they have.
type frame struct {
	x, y                     axis
	left, right, top, bottom float64
}

func (f *frame) at(x, y float64) (float64, float64) {
	return f.left + (x-f.x.lo)/(f.x.hi-f.x.lo)*(f.right-f.left), f.bottom - (y-f.y.lo)/(f.y.hi-f.y.lo)*(f.bottom-f.top)
}

// grid draws the lines of round numbers and names them, with the names of the axes.
func (f *frame) grid(d *drawing, nx, ny int, x, y string) {
	for _, t := range f.x.ticks(nx) {
		px, _ := f.at(t.Value, 0)
		d.path("grid", "", "M%.1f,%.1fV%.1f", px, f.top, f.bottom)
		d.label("tick mid", px, f.bottom+17, t.Label)
	}
	for _, t := range f.y.ticks(ny) {
		_, py := f.at(0, t.Value)
		d.path("grid", "", "M%.1f,%.1fH%.1f", f.left, py, f.right)
		d.label("tick end", f.left-7, py+4, t.Label)
	}
	d.label("axis mid", (f.left+f.right)/2, f.bottom+37, x)
	d.label("axis", 2, f.top-20, y)
}

// drawings returns a chart for wide screens and one for phones.
func (s *scatter) drawings() []drawing {
	return []drawing{s.drawing("wide", 1080, 460, 10, 8), s.drawing("narrow", 360, 380, 5, 6)}
}

func (s *scatter) drawing(size string, width, height, nx, ny int) drawing {
	d := drawing{Size: size, W: width, H: height, Title: s.Title}
	f := frame{x: s.x, y: s.y, left: 48, right: float64(width) - 10, top: 34, bottom: float64(height) - 44}
	f.grid(&d, nx, ny, speedLabel, s.Y)
	if s.base != nil {
		_, y := f.at(0, s.base.Value)
		_, upper := f.at(0, s.base.High)
		_, lower := f.at(0, s.base.Low)
		d.path("band", "", "M%.1f,%.1fH%.1fV%.1fH%.1fz", f.left, upper, f.right, lower, f.left)
		d.path("base", "the uncached model: "+short(s.base.Value), "M%.1f,%.1fH%.1f", f.left, y, f.right)
		d.label("tick end halo", f.right-4, y+15, "uncached")
	}
	s.drawFront(&d, &f)
	for i := range s.series {
		s.drawSeries(&d, &f, &s.series[i])
	}
	return d
}

func (s *scatter) drawFront(d *drawing, f *frame) {
	points := make([]string, len(s.front))
	for i, cell := range s.front {
		x, y := f.at(cell.Speedup, s.inside(s.m.of(cell).Value))
		points[i] = coordinate(x) + "," + coordinate(y)
	}
	d.path("front", "", "M%s", strings.Join(points, "L"))
}

func (s *scatter) drawSeries(d *drawing, f *frame, one *series) {
	points := make([]string, len(one.cells))
	for i, cell := range one.cells {
		q := s.m.of(cell)
		x, y := f.at(cell.Speedup, s.inside(q.Value))
		points[i] = coordinate(x) + "," + coordinate(y)
		if s.beyond(q.Value) {
			d.path(one.class()+" mark", "", "M%.1f,%.1fl4,-6l4,6", x-4, y-8)
			continue
		}
		_, upper := f.at(0, s.inside(q.High))
		_, lower := f.at(0, q.Low)
		d.path(one.class()+" bar", "", "M%.1f,%.1fV%.1fM%.1f,%.1fh6M%.1f,%.1fh6", x, upper, lower, x-3, upper, x-3, lower)
	}
	d.path(one.class()+" line", "", "M%s", strings.Join(points, "L"))
	for _, cell := range one.cells {
		q := s.m.of(cell)
		x, y := f.at(cell.Speedup, s.inside(q.Value))
		d.mark(one, x, y, 4.6, fmt.Sprintf("%s, %s: %s, %s (%s to %s)", one.Name, cell.Policy, times(cell.Speedup), short(q.Value), short(q.Low), short(q.High)))
	}
}

// sample returns a drawing of a series' marker, for legends.
func (s *series) sample() drawing {
	d := drawing{W: 24, H: 14}
	d.path(s.class()+" line", "", "M1,7H23")
	d.mark(s, 12, 7, 4.6, "")
	return d
}

// stepDrawing returns a chart of the time of each step of a cell, against the longest step of all charts and the uncached model's usual one.
func stepDrawing(s *series, top, base float64) drawing {
	const width, height = 300, 116
	steps := s.cells[0].StepMillis
	d := drawing{W: width, H: height, Title: "time of each step, " + s.Name}
	f := frame{x: axis{0.5, float64(len(steps)) + 0.5}, y: axis{0, top * 1.06}, left: 34, right: width - 4, top: 8, bottom: height - 20}
	for _, t := range f.y.ticks(3) {
		_, py := f.at(0, t.Value)
		d.path("grid", "", "M%.1f,%.1fH%.1f", f.left, py, f.right)
		d.label("tick end", f.left-5, py+4, t.Label)
	}
	for _, t := range f.x.ticks(5) {
		px, _ := f.at(t.Value, 0)
		if t.Value >= 1 {
			d.label("tick mid", px, f.bottom+15, t.Label)
		}
	}
	var b strings.Builder
	x, y := f.at(0.5, 0)
	fmt.Fprintf(&b, "M%.1f,%.1f", x, y)
	for i, ms := range steps {
		x, y = f.at(float64(i)+1.5, ms)
		fmt.Fprintf(&b, "V%.1fH%.1f", y, x)
	}
	fmt.Fprintf(&b, "V%.1fz", f.bottom)
	d.path(s.class()+" area", "", "%s", b.String())
	if base > 0 {
		_, y := f.at(0, base)
		d.path("front", "", "M%.1f,%.1fH%.1f", f.left, y, f.right)
	}
	return d
}

// spread is the row of a method in the chart of memory: a dot for each cell, in percent of the largest.
type spread struct {
	Name, Class, Range string
	Dots               []dot
}

type dot struct {
	Percent float64
	Tip     string
}

func (c *Comparison) spreads() []spread {
	all, most := c.memory()
	rows := make([]spread, len(all))
	for i := range all {
		s := &all[i]
		rows[i] = spread{Name: s.Name, Class: s.class()}
		var sizes []int64
		for _, cell := range s.cells {
			sizes = append(sizes, cell.CacheBytes)
			rows[i].Dots = append(rows[i].Dots, dot{float64(cell.CacheBytes) / 1e4 / most, fmt.Sprintf("%s, %s: %s", cell.Policy, times(cell.Speedup), bytesText(cell.CacheBytes))})
		}
		least, largest := bytesText(slices.Min(sizes)), bytesText(slices.Max(sizes))
		if rows[i].Range = largest; least != largest {
			rows[i].Range = strings.TrimSuffix(least, " MB") + " to " + largest
			if !strings.HasSuffix(largest, " MB") {
				rows[i].Range = least + " to " + largest
			}
		}
	}
	return rows
}
