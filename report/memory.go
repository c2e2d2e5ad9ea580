package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// memory is a chart of the sizes of the caches: a row for each method, the largest first.
type memory struct {
	series []series
	max    float64 // MB
}

const memoryTitle = "Memory that the cache takes, each method at all its speeds"

// memory returns the chart, false if there is no cache.
func (r *Results) memory() (memory, bool) {
	largest := func(s series) int64 {
		return slices.MaxFunc(s.cells, func(a, b *Cell) int { return cmp.Compare(a.CacheBytes, b.CacheBytes) }).CacheBytes
	}
	all := r.series()
	slices.SortStableFunc(all, func(a, b series) int { return cmp.Compare(largest(b), largest(a)) })
	if len(all) == 0 || largest(all[0]) == 0 {
		return memory{}, false
	}
	return memory{all, float64(largest(all[0])) / 1e6}, true
}

// file returns the chart as a file of its own, with its title.
func (m *memory) file() *chart.Drawing {
	const width, margin = 720, 14
	d := chart.New(width, 86+26*float64(len(m.series)), memoryTitle)
	p := chart.Plot{
		Box:   chart.Box{Left: margin, Top: 8, Right: width - margin, Bottom: d.Height - 6},
		Title: memoryTitle,
	}
	m.draw(d, &p, false)
	return d
}

// inline returns the chart for the page. Where stacked the names stand above the rows.
func (m *memory) inline(width float64, stacked bool) *chart.Drawing {
	row := 28.0
	if stacked {
		row = 44
	}
	d := chart.New(width, 48+row*float64(len(m.series)), memoryTitle)
	m.draw(d, &chart.Plot{Box: chart.Box{Right: width, Bottom: d.Height}}, stacked)
	return d
}

func (m *memory) draw(d *chart.Drawing, p *chart.Plot, stacked bool) {
	n := float64(len(m.series))
	p.X, p.XLabel = chart.Axis{Min: -m.max * 0.02, Max: m.max * 1.04}, "MB"
	p.Y, p.YTicks = chart.Axis{Min: n - 0.5, Max: -0.5}, []chart.Tick{}
	p.Left = 8
	if !stacked {
		for i, s := range m.series {
			p.YTicks = append(p.YTicks, chart.Tick{Value: float64(i), Label: s.Name})
		}
		p.Left = 0
		for _, s := range m.series {
			p.Right = max(p.Right, chart.TextWidth(s.sizes(), chart.Note.Size)+8)
		}
	}
	p.Layout()
	p.Axes(d)
	for i := range m.series {
		s := &m.series[i]
		row := float64(i)
		baseline := p.At(0, row).Y + 4
		if stacked {
			row += 0.22
			baseline = p.At(0, row).Y - 13
			room := p.Box.Width() - chart.TextWidth(s.sizes(), chart.Note.Size) - 12
			d.Text(chart.Point{X: p.Box.Left, Y: baseline}, chart.Fit(s.Name, chart.Name.Size, room), chart.Name)
			d.Path(chart.Line(p.At(p.X.Min, row), p.At(p.X.Max, row)), chart.Style{Stroke: chart.Band, Width: 2})
		}
		d.Text(chart.Point{X: p.Box.Right, Y: baseline}, s.sizes(), chart.Note.At(chart.End))
		for _, cell := range s.cells {
			tip := fmt.Sprintf("%s, %s: %s", cell.Policy, times(cell.Speedup), bytesText(cell.CacheBytes))
			s.mark(d, p.At(float64(cell.CacheBytes)/1e6, row), tip)
		}
	}
}

// sizes writes the smallest and the largest cache of a series.
func (s *series) sizes() string {
	var sizes []int64
	for _, cell := range s.cells {
		sizes = append(sizes, cell.CacheBytes)
	}
	low, high := bytesText(slices.Min(sizes)), bytesText(slices.Max(sizes))
	if low == high {
		return high
	}
	if slices.Min(sizes) == 0 {
		low = "0"
	} else if strings.HasSuffix(high, " MB") {
		low = strings.TrimSuffix(low, " MB")
	}
	return low + " to " + high
}
