package report

import (
	"fmt"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// StepBars is a panel that shows which steps are I-steps, at which everything is computed, and
// how much the others compute.
type StepBars struct {
	Title string
	X     string
	Share []float64 // of each step: the share of tokens that was computed, 0 to 1
	Full  []bool    // of each step: it is an I-step
}

func (s StepBars) scale() *Scale { return nil }

func (s StepBars) plot() (*chart.Plot, error) {
	if len(s.Share) == 0 || len(s.Full) != len(s.Share) {
		return nil, fmt.Errorf("panel %q: %d shares of %d steps", s.Title, len(s.Share), len(s.Full))
	}
	x := columnAxis(len(s.Share))
	return &chart.Plot{
		Title:  s.Title,
		XLabel: s.X,
		YLabel: "computed",
		X:      x,
		Y:      chart.Axis{Max: 1},
		XTicks: x.Ticks(wideTicks),
		YTicks: []chart.Tick{{Value: 0, Label: "0 %"}, {Value: 0.5, Label: "50 %"}, {Value: 1, Label: "100 %"}},
		NoGrid: true,
	}, nil
}

func (s StepBars) paint(d *chart.Drawing, p *chart.Plot) {
	for i, share := range s.Share {
		color := chart.Partial
		if s.Full[i] {
			share, color = 1, chart.Full
		}
		b := p.Span(float64(i)-0.5, 0, float64(i)+0.5, 1)
		gap := min(b.Width()/10, 1)
		b.Left, b.Right = b.Left+gap, b.Right-gap
		d.Rect(b, chart.Style{Fill: chart.Empty})
		b.Top = b.Bottom - b.Height()*min(max(share, 0), 1)
		d.Rect(b, chart.Style{Fill: color})
	}
	d.LegendRow(p.Area.Right, p.HeadLine(), []chart.Key{
		chart.Swatch("I-step", chart.Full),
		chart.Swatch("P-step: computed", chart.Partial),
		chart.Swatch("P-step: reused", chart.Empty),
	})
}
