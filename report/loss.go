package report

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
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

// curveColors are those of each curve: as it was, and smoothed.
var curveColors = [][2]color.Color{
	{color.RGBA{0xb8, 0xcc, 0xe4, 0xff}, color.RGBA{0x1f, 0x4e, 0x9c, 0xff}},
	{color.RGBA{0xf2, 0xcd, 0xb0, 0xff}, color.RGBA{0xb4, 0x53, 0x09, 0xff}},
}

// LossCurve writes a PNG of one or two quantities over a training run, as they were and smoothed; the values' axis is logarithmic if all allow it.
func LossCurve(path string, first Curve, more ...Curve) error {
	p := plot.New()
	p.Title.Text = "training " + first.Name
	p.X.Label.Text = "update"
	p.Y.Label.Text = first.Name
	p.X.Tick.Marker = wholeTicks{}
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	curves := append([]Curve{first}, more...)
	positive := true
	for width := range 2 { // all as they were, and then all smoothed above them
		for i, c := range curves {
			points := [2]plotter.XYs{}
			points[0], points[1] = c.points()
			if len(points[0]) < 2 {
				continue // nothing to draw yet
			}
			positive = positive && c.positive()
			line, err := plotter.NewLine(thin(points[width], 2000))
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			line.Color, line.Width = curveColors[i%len(curveColors)][width], vg.Points(0.6+float64(width))
			p.Add(line)
			if width == 1 && len(more) > 0 {
				p.Legend.Add(c.Name, line)
			}
		}
	}
	if math.IsInf(p.X.Min, 0) {
		return nil // of no curve is there anything to draw
	}
	if positive {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, logTicks{}
	}
	return writePNG(path, p, 7*vg.Inch, 4*vg.Inch)
}

// points returns the finite values, and their average over the tenth of the run so far before each, at most 200 updates.
func (c *Curve) points() (raw, smooth plotter.XYs) {
	mean := 0.0
	for i, v := range c.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		mean += (v - mean) / float64(min(1+i/10, 200))
		x := float64(c.Steps[i])
		raw, smooth = append(raw, plotter.XY{X: x, Y: v}), append(smooth, plotter.XY{X: x, Y: mean})
	}
	return raw, smooth
}

// positive reports whether a logarithm can be taken of all finite values.
func (c *Curve) positive() bool {
	return !slices.ContainsFunc(c.Values, func(v float64) bool { return v <= 0 && !math.IsInf(v, 0) })
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
