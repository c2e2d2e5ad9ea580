package report

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Schedule is a panel that shows which steps are I-steps, at which everything is computed, and how much the others compute.
type Schedule struct {
	Title string
	X     string
	Share []float64 // of each step: the share of tokens that was computed, 0 to 1
	Full  []bool    // of each step: it is an I-step
}

var (
	fullColor    = color.NRGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}
	partialColor = color.NRGBA{R: 0xe6, G: 0x9f, B: 0x00, A: 0xff}
	emptyColor   = color.NRGBA{R: 0xfb, G: 0xee, B: 0xd2, A: 0xff}
)

func (s Schedule) bar() *colorBar { return nil }

func (s Schedule) plot() (*plot.Plot, error) {
	if len(s.Share) == 0 || len(s.Full) != len(s.Share) {
		return nil, fmt.Errorf("panel %q: %d shares of %d steps", s.Title, len(s.Share), len(s.Full))
	}
	p := newPlot(s.Title, s.X, "computed")
	p.Add(&strip{s})
	p.X.Tick.Marker = plot.ConstantTicks(indexTicks(len(s.Share), wideMarks))
	p.Y.Tick.Marker = plot.ConstantTicks([]plot.Tick{{Value: 0, Label: "0 %"}, {Value: 0.5, Label: "50 %"}, {Value: 1, Label: "100 %"}})
	for _, k := range []struct {
		name  string
		color color.Color
	}{{"I-step", fullColor}, {"P-step: computed", partialColor}, {"P-step: reused", emptyColor}} {
		p.Legend.Add(k.name, swatch{k.color})
	}
	p.Legend.Top, p.Y.Max = true, 1.5 // room for the legend
	p.Legend.TextStyle.Font.Size, p.Legend.Padding = 9, 3
	return p, nil
}

// swatch is a colour in a legend.
type swatch struct{ color color.Color }

// Thumbnail implements plot.Thumbnailer.
func (s swatch) Thumbnail(c *draw.Canvas) { fill(*c, s.color, c.Min.X, c.Min.Y, c.Max.X, c.Max.Y) }

type strip struct{ Schedule }

// DataRange implements plot.DataRanger.
func (s *strip) DataRange() (xmin, xmax, ymin, ymax float64) {
	return -0.5, float64(len(s.Share)) - 0.5, 0, 1
}

// Plot implements plot.Plotter.
func (s *strip) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	for i, share := range s.Share {
		x0, x1 := toX(float64(i)-0.5), toX(float64(i)+0.5)
		gap := min((x1-x0)/10, vg.Points(1))
		if s.Full[i] {
			fill(c, fullColor, x0+gap, toY(0), x1-gap, toY(1))
			continue
		}
		fill(c, emptyColor, x0+gap, toY(0), x1-gap, toY(1))
		fill(c, partialColor, x0+gap, toY(0), x1-gap, toY(min(max(share, 0), 1)))
	}
}
