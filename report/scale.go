package report

import (
	"math"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// Scale is what colours mean.
type Scale struct {
	Unit     string  // what is shown
	Min, Max float64 // where equal, the values' own
	Log      bool    // equal ratios have equal distances of colour
}

// over returns the scale with the bounds of the values, unless it has bounds.
func (s Scale) over(values ...[]float64) Scale {
	if s.Max > s.Min {
		return s
	}
	s.Min, s.Max = math.Inf(1), math.Inf(-1)
	for _, row := range values {
		for _, v := range row {
			if !math.IsNaN(v) && !math.IsInf(v, 0) && (!s.Log || v > 0) {
				s.Min, s.Max = min(s.Min, v), max(s.Max, v)
			}
		}
	}
	switch {
	case s.Min > s.Max:
		s.Min, s.Max, s.Log = 0, 1, false
	case s.Log:
		s.Min = max(s.Min, s.Max*1e-6)
		if s.Max < 1.01*s.Min {
			s.Min, s.Max = s.Min/2, s.Max*2
		}
	case s.Max-s.Min < 1e-9*(math.Abs(s.Max)+1e-300):
		s.Min, s.Max = s.Min-0.5, s.Max+0.5
	}
	return s
}

func (s Scale) axis() chart.Axis { return chart.Axis{Min: s.Min, Max: s.Max, Log: s.Log} }

// at returns where a value is between the bounds, 0 to 1; NaN of NaN.
func (s Scale) at(v float64) float64 {
	return s.axis().At(min(max(v, s.Min), s.Max))
}

func (s Scale) fill(v float64) chart.Style { return chart.Style{Fill: chart.Viridis(s.at(v))} }

const barRoom = 76 // right of a panel, for its colour bar

// bar draws at the right of a panel what its colours mean, and the unit above.
func (s Scale) bar(d *chart.Drawing, p *chart.Plot) {
	const strips, gap, width = 128, 14, 16
	left := p.Area.Right + gap
	height := p.Area.Height() / strips
	for i := range strips {
		bottom := p.Area.Bottom - float64(i)*height
		b := chart.Box{Left: left, Top: bottom - height, Right: left + width, Bottom: bottom}
		d.Rect(b, chart.Style{Fill: chart.Viridis(float64(i) / (strips - 1))})
	}
	for _, t := range s.axis().Ticks(7) {
		y := p.Area.Bottom - p.Area.Height()*s.at(t.Value)
		from, to := chart.Point{X: left + width, Y: y}, chart.Point{X: left + width + 4, Y: y}
		d.Path(chart.Line(from, to), chart.Style{Stroke: chart.Soft, Width: 1})
		d.Text(chart.Point{X: to.X + 4, Y: y + 4}, t.Label, chart.Note)
	}
	unit := chart.Fit(s.Unit, chart.Label.Size, p.Box.Width()*0.6)
	d.Text(chart.Point{X: p.Box.Right, Y: p.HeadLine()}, unit, chart.Label.At(chart.End))
}
