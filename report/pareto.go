package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// pareto is the chart of everything: every setting of every method, quality against speed-up. The
// front is a line, dominated settings are faint, and only the front and each method's setting at 2x
// have names.
type pareto struct {
	m      Measure
	title  string
	series []series
	named  []paretoName // by falling quality
	front  []*Cell
	base   *Cell // the uncached model, a line across; nil: none
	x, y   chart.Axis
}

// paretoName is a cell with a name.
type paretoName struct {
	cell  *Cell
	one   *series // nil: the uncached model
	text  string
	front bool
}

const (
	namedSpeed = 2.0  // FLOPs of the settings that have names are fewer by this
	namedMiss  = 0.25 // as a share: settings further from it have none

	paretoWide, paretoNarrow = 1080, 360
	paretoHeight             = 420 // of a panel's data, at least
	nameLine                 = 17  // pixels from a name to the next
)

// pareto returns the panel of a measure, false if nothing of it was measured.
func (r *Results) pareto(m Measure) (*pareto, bool) {
	p := &pareto{m: m, title: "PSNR to the uncached images (dB)"}
	if m == ConvergedPSNR {
		p.title = "PSNR to the converged solution (dB)"
		if base := r.baseline(); base != nil && m.of(base) != nil {
			p.base = base
		}
	}
	for _, one := range r.series() {
		one.cells = slices.DeleteFunc(slices.Clone(one.cells), func(c *Cell) bool { return !c.made() || m.of(c) == nil })
		if len(one.cells) > 0 {
			p.series = append(p.series, one)
		}
	}
	if len(p.series) == 0 {
		return nil, false
	}
	for _, i := range r.Frontier(m) {
		p.front = append(p.front, &r.Cells[i])
	}
	p.name()
	p.scale()
	return p, true
}

// name gives names to the front and to each method's setting at namedSpeed.
func (p *pareto) name() {
	for i := range p.series {
		one := &p.series[i]
		far := func(c *Cell) float64 { return math.Abs(math.Log(c.FLOPReduction() / namedSpeed)) }
		at := slices.MinFunc(one.cells, func(a, b *Cell) int { return cmp.Compare(far(a), far(b)) })
		for _, c := range one.cells {
			front := slices.Contains(p.front, c)
			if front || c == at && far(c) <= math.Log(1+namedMiss) {
				p.named = append(p.named, paretoName{c, one, shortName(one.Name), front})
			}
		}
	}
	if p.base != nil {
		p.named = append(p.named, paretoName{p.base, nil, "uncached", false})
	}
	slices.SortStableFunc(p.named, func(a, b paretoName) int {
		return cmp.Compare(p.m.of(b.cell).Value, p.m.of(a.cell).Value)
	})
}

// shortName is a method's name without what stands in brackets.
func shortName(name string) string {
	before, _, _ := strings.Cut(name, " (")
	return before
}

// scale sets the axes.
func (p *pareto) scale() {
	slow, fast := 1.0, 1.2
	var ys []float64
	for _, one := range p.series {
		for _, c := range one.cells {
			slow, fast = min(slow, c.Speedup), max(fast, c.Speedup)
			ys = append(ys, p.m.of(c).Value)
		}
	}
	if p.base != nil {
		ys = append(ys, p.m.of(p.base).Value)
	}
	p.x = chart.Axis{Min: slow * 0.96, Max: fast * 1.04, Log: true}
	p.y = chart.Around(slices.Min(ys), slices.Max(ys), 0.05)
}

// paretoDrawing draws panels below each other; narrow is for phones.
func paretoDrawing(panels []*pareto, narrow bool) *chart.Drawing {
	width, height := float64(paretoWide), 0.0
	if narrow {
		width = paretoNarrow
	}
	for _, p := range panels {
		height += p.height(narrow)
	}
	d := chart.New(width, height, "Quality against speed-up, all settings of all methods")
	top := 0.0
	for _, p := range panels {
		p.draw(d, chart.Box{Left: 4, Top: top, Right: width - 4, Bottom: top + p.height(narrow)}, narrow)
		top += p.height(narrow)
	}
	return d
}

// height is a panel's: its names stand in a column at its right or, where it is narrow, in a list
// below it.
func (p *pareto) height(narrow bool) float64 {
	const around = 98 // axes and their names, and what is free below
	names := float64(len(p.named)) * nameLine
	if narrow {
		return max(paretoHeight, float64(len(p.named))*12+around) + names + 24
	}
	return max(paretoHeight, names) + around
}

func (p *pareto) draw(d *chart.Drawing, box chart.Box, narrow bool) {
	box.Bottom -= 14
	texts, room := p.names(narrow), 0.0
	for _, text := range texts {
		room = max(room, chart.TextWidth(text, chart.Name.Size))
	}
	plot := chart.Plot{Box: box, YLabel: p.title, XLabel: speedLabel, X: p.x, Y: p.y}
	column, gap := min(room, 0.4*box.Width())+34, float64(nameLine)
	if narrow {
		column, gap = 40, 12
		plot.Box.Bottom -= float64(len(p.named))*nameLine + 24
	}
	plot.Box.Right -= column
	plot.Layout()
	plot.Axes(d)
	if p.base != nil {
		y := p.m.of(p.base).Value
		d.Path(chart.Line(plot.At(p.x.Min, y), plot.At(p.x.Max, y)), chart.Style{Stroke: chart.Soft, Width: 1})
	}
	heights := p.spread(&plot, gap)
	for i, n := range p.named {
		p.lead(d, &plot, n.cell, heights[i])
	}
	p.marks(d, &plot)
	left := plot.Area.Right + 22
	for i, n := range p.named {
		style := chart.Name
		if !n.front {
			style = chart.Note
		}
		at := chart.Point{X: left, Y: heights[i] + 4}
		if !narrow {
			d.Text(at, chart.Fit(texts[i], style.Size, box.Right-left), style)
			continue
		}
		style.Size = 10
		d.Text(at, fmt.Sprint(i+1), style)
		style.Size = chart.Name.Size
		below := chart.Point{X: box.Left, Y: plot.Box.Bottom + 18 + float64(i)*nameLine}
		d.Text(below, chart.Fit(fmt.Sprintf("%d  %s", i+1, texts[i]), style.Size, box.Width()), style)
	}
}

// names returns the texts of the names.
func (p *pareto) names(narrow bool) []string {
	var list []string
	for _, n := range p.named {
		text := fmt.Sprintf("%s, %.1f dB at %s", n.text, p.m.of(n.cell).Value, times(n.cell.Speedup))
		if narrow {
			text = fmt.Sprintf("%s, %.1f at %s", n.text, p.m.of(n.cell).Value, times(n.cell.Speedup))
		}
		list = append(list, text)
	}
	return list
}

// spread returns where the names stand: each as near to the height of its marker as the others
// let it, gap pixels apart, in the order of the markers.
func (p *pareto) spread(plot *chart.Plot, gap float64) []float64 {
	heights := make([]float64, len(p.named))
	lowest := plot.Area.Top + 6
	for i, n := range p.named {
		heights[i] = max(plot.At(n.cell.Speedup, p.m.of(n.cell).Value).Y, lowest)
		lowest = heights[i] + gap
	}
	highest := plot.Area.Bottom
	for i := len(heights) - 1; i >= 0; i-- {
		heights[i] = min(heights[i], highest)
		highest = heights[i] - gap
	}
	return heights
}

// lead draws the line from a marker to its name.
func (p *pareto) lead(d *chart.Drawing, plot *chart.Plot, c *Cell, height float64) {
	from := plot.At(c.Speedup, p.m.of(c).Value)
	right := plot.Area.Right
	d.Path(chart.Line(from, chart.Point{X: right + 4, Y: height}, chart.Point{X: right + 18, Y: height}),
		chart.Style{Stroke: chart.Rule, Width: 1})
}

// marks draws the cells and the front.
func (p *pareto) marks(d *chart.Drawing, plot *chart.Plot) {
	at := func(c *Cell) chart.Point { return plot.At(c.Speedup, p.m.of(c).Value) }
	for i := range p.series {
		for _, c := range p.series[i].cells {
			tip := fmt.Sprintf("%s, %s: %s, %s", c.Name(), c.Policy, times(c.Speedup), short(p.m.of(c).Value))
			d.Circle(at(c), 2.6, chart.Style{Fill: chart.Soft, Opacity: 0.4, Tip: tip})
		}
	}
	var line []chart.Point
	for _, c := range p.front {
		line = append(line, at(c))
	}
	d.Path(chart.Line(line...), chart.Style{Stroke: chart.Accent, Width: 2})
	for _, n := range p.named {
		tip := fmt.Sprintf("%s, %s: %s, %s", n.cell.Name(), n.cell.Policy, times(n.cell.Speedup), short(p.m.of(n.cell).Value))
		switch {
		case n.front:
			d.Circle(at(n.cell), 4.6, chart.Style{Fill: chart.Accent, Stroke: chart.Paper, Width: 1, Tip: tip})
		default:
			d.Circle(at(n.cell), 3.6, chart.Style{Fill: chart.Soft, Tip: tip})
		}
	}
}

// paretos returns the panels that there are numbers for.
func (r *Results) paretos() []*pareto {
	var panels []*pareto
	for _, m := range []Measure{PSNR, ConvergedPSNR} {
		if p, ok := r.pareto(m); ok {
			panels = append(panels, p)
		}
	}
	return panels
}
