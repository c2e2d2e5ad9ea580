package report

import (
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/palette"
	"gonum.org/v1/plot/palette/moreland"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/tokencache/tokencache/internal/atomicfile"
)

// Figure is several panels in one picture, row by row. The axes of the panels of a column stand below each other.
type Figure struct {
	Title  string
	Note   string // below the title, smaller
	Width  int    // pixels; 0: 1200
	Rows   [][]Panel
	Height []int // of each row, pixels
}

// Panel is a part of a figure: Heat, Tiles, Lines or Schedule.
type Panel interface {
	// plot returns the panel's axes and what is in them.
	plot() (*plot.Plot, error)
	// bar returns the panel's colour bar, or nil.
	bar() *colorBar
}

const (
	figureWidth = 1200
	figureDPI   = 96
	pixel       = vg.Inch / figureDPI
	barRoom     = 100 * pixel // right of panels, for a colour bar

	wideMarks, narrowMarks = 26, 8 // at most, below a panel
)

// Write draws the figure as a PNG file.
func (f Figure) Write(path string) error {
	if f.Width == 0 {
		f.Width = figureWidth
	}
	const margin = 12
	titleHeight := 40
	if f.Note != "" {
		titleHeight = 58
	}
	height := titleHeight + margin
	for _, h := range f.Height {
		height += h
	}
	image := vgimg.NewWith(vgimg.UseWH(vg.Length(f.Width)*pixel, vg.Length(height)*pixel), vgimg.UseDPI(figureDPI), vgimg.UseBackgroundColor(color.White))
	canvas := draw.New(image)
	style := textStyle(15)
	style.XAlign, style.YAlign = text.XCenter, text.YCenter
	canvas.FillText(style, vg.Point{X: canvas.Max.X / 2, Y: canvas.Max.Y - 20*pixel}, f.Title)
	style.Font.Size = 9
	canvas.FillText(style, vg.Point{X: canvas.Max.X / 2, Y: canvas.Max.Y - 43*pixel}, f.Note)
	var all [][]placed
	top := canvas.Max.Y - vg.Length(titleHeight)*pixel
	for i, row := range f.Rows {
		bottom := top - vg.Length(f.Height[i])*pixel
		var list []placed
		for j, panel := range row {
			p, err := panel.plot()
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			width := (canvas.Max.X - 2*margin*pixel) / vg.Length(len(row))
			left := margin*pixel + vg.Length(j)*width
			c := draw.Crop(canvas, left, left+width-canvas.Max.X, bottom+6*pixel, top-canvas.Max.Y)
			list = append(list, placed{panel, p, c})
		}
		all, top = append(all, list), bottom
	}
	alignColumns(all)
	for _, row := range all {
		for _, p := range row {
			p.plot.Draw(p.canvas)
			if b := p.panel.bar(); b != nil {
				b.draw(p.canvas, p.plot.DataCanvas(p.canvas))
			}
		}
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := vgimg.PngCanvas{Canvas: image}.WriteTo(w)
		return err
	})
}

// placed is a panel in its place.
type placed struct {
	panel  Panel
	plot   *plot.Plot
	canvas draw.Canvas
}

// alignColumns narrows canvases so that the axes of a column begin and end below each other, and makes room for colour bars.
func alignColumns(all [][]placed) {
	type edges struct{ left, right vg.Length }
	columns := make(map[[2]int]edges) // rows of as many panels have the same columns
	own := func(p placed) vg.Length { return p.plot.DataCanvas(p.canvas).Min.X - p.canvas.Min.X }
	for _, row := range all {
		for j, p := range row {
			e := columns[[2]int{len(row), j}]
			e.left = max(e.left, own(p))
			if p.panel.bar() != nil {
				e.right = barRoom
			}
			columns[[2]int{len(row), j}] = e
		}
	}
	for _, row := range all {
		for j := range row {
			e := columns[[2]int{len(row), j}]
			row[j].canvas = draw.Crop(row[j].canvas, e.left-own(row[j]), -e.right, 0, 0)
		}
	}
}

// textStyle is that of text that is no part of a plot.
func textStyle(points float64) text.Style {
	return text.Style{Color: color.Black, Font: font.From(plot.DefaultFont, font.Length(points)), Handler: plot.DefaultTextHandler}
}

// newPlot returns axes with their titles.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font.Size, p.Title.Padding = 11, 4
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font.Size, a.Tick.Label.Font.Size, a.Padding = 10, 9, 0
	}
	return p
}

// viridis is a palette that grows in lightness only, which people see alike whether or not they tell red and green apart.
func viridis() palette.ColorMap {
	var controls []color.Color
	for _, c := range []uint32{0x440154, 0x482878, 0x3e4a89, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6dcd59, 0xb4de2c, 0xfde725} {
		controls = append(controls, color.NRGBA{R: uint8(c >> 16), G: uint8(c >> 8), B: uint8(c), A: 255})
	}
	m, err := moreland.NewLuminance(controls)
	if err != nil {
		panic(err) // a mistake in the list above, seen by every test
	}
	return m
}

// Scale is what colours mean.
type Scale struct {
	Unit     string  // what is shown
	Min, Max float64 // where equal, the values' own
	Log      bool    // equal ratios have equal distances of colour
}

// over returns the scale with the bounds of the values, unless it has its own.
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

// at returns where a value is between the bounds, 0 to 1.
func (s Scale) at(v float64) float64 {
	if s.Log {
		return min(max(math.Log(max(v, s.Min)/s.Min)/math.Log(s.Max/s.Min), 0), 1)
	}
	return min(max((v-s.Min)/(s.Max-s.Min), 0), 1)
}

// ticks returns the marks of a bar.
func (s Scale) ticks() []plot.Tick {
	if !s.Log {
		return axis{s.Min, s.Max}.ticks(7)
	}
	var list []plot.Tick
	for e := math.Floor(math.Log10(s.Min)); e <= math.Ceil(math.Log10(s.Max)); e++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, e); v >= s.Min*0.999 && v <= s.Max*1.001 {
				t := plot.Tick{Value: v}
				if m == 1 || s.Max/s.Min < 1000 {
					t.Label = fmt.Sprintf("%.3g", v)
				}
				list = append(list, t)
			}
		}
	}
	return list
}

// colors maps values to colours.
type colors struct {
	Scale
	list []color.Color
}

var noValue = color.NRGBA{R: 0xdd, G: 0xdd, B: 0xdd, A: 0xff}

func newColors(s Scale) colors { return colors{s, viridis().Palette(256).Colors()} }

func (c colors) of(v float64) color.Color {
	if math.IsNaN(v) {
		return noValue
	}
	return c.list[int(c.at(v)*float64(len(c.list)-1)+0.5)]
}

// colorBar tells at the right of a panel what its colours mean.
type colorBar struct{ colors }

func (b *colorBar) draw(panel, data draw.Canvas) {
	x, width := data.Max.X+12*pixel, 16*pixel
	height := data.Max.Y - data.Min.Y
	const strips = 128
	for i := range strips {
		y0 := data.Min.Y + height*vg.Length(i)/strips
		c := b.list[i*(len(b.list)-1)/(strips-1)]
		fill(panel, c, x, y0, x+width, min(y0+height/strips+pixel, data.Max.Y))
	}
	style := textStyle(9)
	style.YAlign = text.YCenter
	line := draw.LineStyle{Color: color.Black, Width: vg.Points(0.5)}
	for _, t := range b.ticks() {
		y := data.Min.Y + height*vg.Length(b.at(t.Value))
		length := 3 * pixel
		if t.Label != "" {
			length = 5 * pixel
			panel.FillText(style, vg.Point{X: x + width + 8*pixel, Y: y}, t.Label)
		}
		panel.StrokeLine2(line, x+width, y, x+width+length, y)
	}
	unit := textStyle(10)
	unit.Rotation, unit.XAlign, unit.YAlign = math.Pi/2, text.XCenter, text.YCenter
	panel.FillText(unit, vg.Point{X: x + width + 58*pixel, Y: (data.Min.Y + data.Max.Y) / 2}, b.Unit)
}

func fill(c draw.Canvas, col color.Color, x0, y0, x1, y1 vg.Length) {
	var p vg.Path
	p.Move(vg.Point{X: x0, Y: y0})
	p.Line(vg.Point{X: x1, Y: y0})
	p.Line(vg.Point{X: x1, Y: y1})
	p.Line(vg.Point{X: x0, Y: y1})
	p.Close()
	c.SetColor(col)
	c.Fill(p)
}

// indexTicks returns marks for 0..n-1 at at most most round numbers.
func indexTicks(n, most int) []plot.Tick {
	step := 1
	for _, s := range []int{1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000} {
		if step = s; (n-1)/s+1 <= most {
			break
		}
	}
	var ticks []plot.Tick
	for i := 0; i < n; i += step {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: fmt.Sprint(i)})
	}
	return ticks
}

// Lines is a panel of quantities over the steps of a run.
type Lines struct {
	Title, X, Y string
	Names       []string    // for the legend; may be left out for one line
	Values      [][]float64 // of each line; NaN: no point
	Zero        bool        // the axis begins at 0
	One         bool        // it goes up to 1
}

// Colours that people tell apart whether or not they tell red and green apart (Okabe and Ito).
var lineColors = []color.Color{
	color.NRGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, color.NRGBA{R: 0xd5, G: 0x5e, A: 0xff}, color.NRGBA{G: 0x9e, B: 0x73, A: 0xff}, color.NRGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
}

func (l Lines) bar() *colorBar { return nil }

func (l Lines) plot() (*plot.Plot, error) {
	p := newPlot(l.Title, l.X, l.Y)
	p.Add(plotter.NewGrid())
	n := 1
	for i, values := range l.Values {
		n = max(n, len(values))
		var points plotter.XYs
		for x, v := range values {
			if !math.IsNaN(v) {
				points = append(points, plotter.XY{X: float64(x), Y: v})
			}
		}
		if len(points) == 0 {
			continue
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = lineColors[i%len(lineColors)], vg.Points(1.5)
		marks.Color, marks.Shape, marks.Radius = line.Color, draw.CircleGlyph{}, vg.Points(2)
		p.Add(line, marks)
		if i < len(l.Names) {
			p.Legend.Add(l.Names[i], line)
		}
	}
	p.Legend.Top = true
	p.X.Min, p.X.Max = -0.5, float64(n)-0.5
	p.X.Tick.Marker = plot.ConstantTicks(indexTicks(n, wideMarks))
	if l.Zero {
		p.Y.Min = 0
	}
	if l.One {
		p.Y.Max = 1
	}
	return p, nil
}
