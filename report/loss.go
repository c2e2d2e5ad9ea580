package report

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/tokencache/tokencache/internal/atomicfile"
)

// Curve is a quantity over the updates of a training run.
type Curve struct {
	Name   string
	Steps  []int
	Values []float64
}

// LossCurve writes a PNG of a quantity over a training run, as it was and smoothed, both axes logarithmic where the values allow it.
func LossCurve(path string, c Curve) error {
	p := plot.New()
	p.Title.Text = "training " + c.Name
	p.X.Label.Text = "update"
	p.Y.Label.Text = c.Name
	p.X.Tick.Marker = wholeTicks{}
	p.Add(plotter.NewGrid())
	var raw, smooth plotter.XYs
	mean, positive := 0.0, true
	for i, v := range c.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		// The average looks back a tenth of the run so far, at most 200 updates.
		mean += (v - mean) / float64(min(1+i/10, 200))
		positive = positive && v > 0
		x := float64(c.Steps[i])
		raw, smooth = append(raw, plotter.XY{X: x, Y: v}), append(smooth, plotter.XY{X: x, Y: mean})
	}
	if len(raw) < 2 {
		return nil // nothing to draw yet
	}
	if positive {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, logTicks{}
	}
	for _, l := range []struct {
		points plotter.XYs
		color  color.Color
		width  vg.Length
	}{{thin(raw, 2000), color.RGBA{0xb8, 0xcc, 0xe4, 0xff}, vg.Points(0.6)}, {thin(smooth, 2000), color.RGBA{0x1f, 0x4e, 0x9c, 0xff}, vg.Points(1.6)}} {
		line, err := plotter.NewLine(l.points)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		line.Color, line.Width = l.color, l.width
		p.Add(line)
	}
	return writePNG(path, p, 7*vg.Inch, 4*vg.Inch)
}

// wholeTicks labels the ticks of a count without decimals.
type wholeTicks struct{}

// Ticks implements plot.Ticker.
func (wholeTicks) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i, t := range ticks {
		if t.Label != "" {
			ticks[i].Label = strconv.FormatFloat(t.Value, 'f', -1, 64)
		}
	}
	return ticks
}

// logTicks labels 1, 2 and 5 times the powers of ten, so that an axis within one power has labels too.
type logTicks struct{}

// Ticks implements plot.Ticker.
func (logTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for digit := 1; digit < 10; digit++ {
			v := float64(digit) * power
			if v < low*(1-1e-9) || v > high*(1+1e-9) {
				continue
			}
			label := ""
			if digit == 1 || digit == 2 || digit == 5 {
				label = strconv.FormatFloat(v, 'g', 3, 64)
			}
			ticks = append(ticks, plot.Tick{Value: v, Label: label})
		}
	}
	return ticks
}

// thin returns at most about n of the points, evenly taken.
func thin(points plotter.XYs, n int) plotter.XYs {
	step := max(1, len(points)/n)
	if step == 1 {
		return points
	}
	var few plotter.XYs
	for i := 0; i < len(points); i += step {
		few = append(few, points[i])
	}
	return few
}

func writePNG(path string, p *plot.Plot, width, height vg.Length) error {
	w, err := p.WriterTo(width, height, "png")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.Write(path, func(out io.Writer) error {
		_, err := w.WriteTo(out)
		return err
	})
}
