package report

import (
	"cmp"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/median"
)

// What the charts show, and the charts that are files of their own. The page draws the same data itself (inline.go), so that it can follow the reader's colours.

// colours are those of series, on white and on black. They keep apart for the common colour blindnesses as far as eight can; markers do the rest.
var colours = [8]struct{ Light, Dark string }{
	{"#0072b2", "#4c9be8"}, {"#d55e00", "#ff8a3d"}, {"#008a66", "#2fc79a"}, {"#b5478f", "#e58cc7"},
	{"#444444", "#c8c8c8"}, {"#9a7400", "#e3c13f"}, {"#3a9bd9", "#8fd3ff"}, {"#7d2248", "#d0708c"},
}

// shapes are the markers of series, in the order of the page's own (inline.go).
var shapes = [8]draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.PlusGlyph{}, draw.CrossGlyph{}}

// series is a method's cells that have numbers, by rising speed-up. Its look follows from its place among all methods and is the same in every chart.
type series struct {
	Name          string
	Index         int // of the method among all
	Colour, Shape int // indices in colours and shapes; 64 pairs before one comes again
	cells         []*Cell
}

// series returns the methods in the order in which they first appear.
func (c *Comparison) series() []series {
	var all []series
	for i := range c.Cells {
		cell := &c.Cells[i]
		if cell.Method == Uncached || cell.Error != "" {
			continue
		}
		at := slices.IndexFunc(all, func(s series) bool { return s.Name == cell.Method })
		if at < 0 {
			at = len(all)
			all = append(all, series{Name: cell.Method, Index: at, Colour: at % len(colours), Shape: (at + at/len(colours)) % len(shapes)})
		}
		all[at].cells = append(all[at].cells, cell)
	}
	for _, s := range all {
		slices.SortStableFunc(s.cells, func(a, b *Cell) int { return cmp.Compare(a.Speedup, b.Speedup) })
	}
	return all
}

// scatter is a chart of quality against speed-up.
type scatter struct {
	Title, Y string
	series   []series
	m        Measure
	front    []*Cell
	base     *Interval // the uncached model's, a line across; nil: none
	x, y     axis
	over     int // cells beyond the upper end of y, which are drawn at it
}

const speedLabel = "wall-clock speed-up (times)"

// scatter returns the chart of a measure, false if nothing of it was measured.
func (c *Comparison) scatter(m Measure) (scatter, bool) {
	s := scatter{Title: "PSNR against speed-up", Y: "PSNR (dB), higher is better", m: m}
	if m == Frechet {
		s.Title, s.Y = "Fréchet distance against speed-up", "Fréchet distance, lower is better"
		if base := c.baseline(); base != nil {
			s.base = base.Frechet
		}
	}
	var xs, ys []float64
	for _, one := range c.series() {
		one.cells = slices.DeleteFunc(slices.Clone(one.cells), func(cell *Cell) bool { return m.of(cell) == nil || cell.Speedup <= 0 })
		if len(one.cells) == 0 {
			continue
		}
		s.series = append(s.series, one)
		for _, cell := range one.cells {
			q := m.of(cell)
			xs, ys = append(xs, cell.Speedup), append(ys, q.Value, q.Low, q.High)
		}
	}
	if len(xs) == 0 {
		return s, false
	}
	for _, i := range c.Frontier(m) {
		s.front = append(s.front, &c.Cells[i])
	}
	if s.base != nil {
		ys = append(ys, s.base.Low, s.base.High)
	}
	s.x = axisOf(1, max(slices.Max(xs), 1.2), 0.04)
	s.x.lo = min(1, slices.Min(xs)-0.04)
	s.y = axisOf(slices.Min(ys), slices.Max(ys), 0.05)
	s.limit()
	return s, true
}

// maxTimes is the distance, in uncached ones, above which the chart marks cells at its edge if there are few of them: they would press the others together.
const maxTimes = 4

func (s *scatter) limit() {
	if s.base == nil || s.base.Value <= 0 || s.y.hi <= maxTimes*s.base.Value {
		return
	}
	total, over := 0, 0
	for _, one := range s.series {
		for _, cell := range one.cells {
			total++
			if s.m.of(cell).Value > maxTimes*s.base.Value {
				over++
			}
		}
	}
	if 2*over < total {
		s.over = over
		s.y = axisOf(s.y.lo, maxTimes*s.base.Value, 0)
	}
}

// beyond reports whether a value is above the upper end of the chart.
func (s *scatter) beyond(v float64) bool { return s.over > 0 && v > s.y.hi }

// axis is a range of numbers with round ones to name.
type axis struct {
	lo, hi float64
}

// axisOf returns an axis that holds lo to hi and leaves a part of the range free at both ends.
func axisOf(lo, hi, pad float64) axis {
	if hi <= lo {
		lo, hi = lo-max(math.Abs(lo), 1)*0.1, hi+max(math.Abs(hi), 1)*0.1
	}
	free := (hi - lo) * pad
	a := axis{lo: lo - free, hi: hi + free}
	if lo >= 0 {
		a.lo = max(a.lo, 0)
	}
	return a
}

// ticks returns the round numbers, 1, 2 or 5 times a power of ten apart, that cut the axis into at most about n parts.
func (a axis) ticks(n int) []plot.Tick {
	raw := (a.hi - a.lo) / float64(max(n, 1))
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * power
	for _, f := range []float64{1, 2, 5} {
		if f*power >= raw*0.999 {
			step = f * power
			break
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var all []plot.Tick
	for i := math.Ceil(a.lo/step - 1e-9); i*step <= a.hi+step*1e-9 && len(all) <= 4*n+4; i++ {
		all = append(all, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step+0, 'f', decimals, 64)}) // + 0: not -0
	}
	return all
}

// chosen returns one cell of each method for the charts that have no room for all, that whose speed-up is nearest to the middle of all, and that middle.
func (c *Comparison) chosen(has func(*Cell) bool) ([]series, float64) {
	var speeds []float64
	var all []series
	for _, s := range c.series() {
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
		near := slices.MinFunc(all[i].cells, func(a, b *Cell) int { return cmp.Compare(math.Abs(a.Speedup-middle), math.Abs(b.Speedup-middle)) })
		all[i].cells = []*Cell{near}
	}
	return all, middle
}

// Middle returns of each method the cell whose speed-up is nearest to the middle of all.
func (c *Comparison) Middle() []*Cell {
	all, _ := c.chosen((*Cell).made)
	var list []*Cell
	for _, s := range all {
		list = append(list, s.cells[0])
	}
	return list
}

func timed(cell *Cell) bool { return len(cell.StepMillis) > 0 }

// memory returns the methods with the sizes of their caches, the largest first, and the largest size in MB; nothing if there is no cache.
func (c *Comparison) memory() ([]series, float64) {
	all := c.series()
	most := func(s series) int64 {
		return slices.MaxFunc(s.cells, func(a, b *Cell) int { return cmp.Compare(a.CacheBytes, b.CacheBytes) }).CacheBytes
	}
	slices.SortStableFunc(all, func(a, b series) int { return cmp.Compare(most(b), most(a)) })
	if len(all) == 0 || most(all[0]) == 0 {
		return nil, 0
	}
	return all, float64(most(all[0])) / 1e6
}

// writeCharts writes the charts that there are numbers for.
func (c *Comparison) writeCharts(dir string) error {
	for _, chart := range []struct {
		name string
		draw func(draw.Canvas) error
		size vg.Point
	}{
		{"frontier-psnr", c.drawScatter(PSNR), vg.Point{X: 9 * vg.Inch, Y: 5 * vg.Inch}},
		{"frontier-frechet", c.drawScatter(Frechet), vg.Point{X: 9 * vg.Inch, Y: 5 * vg.Inch}},
		{"step-time", c.drawStepTime(), vg.Point{X: 9 * vg.Inch, Y: c.stepTimeHeight()}},
		{"memory", c.drawMemory(), vg.Point{X: 9 * vg.Inch, Y: c.memoryHeight()}},
	} {
		if chart.draw == nil {
			continue
		}
		if err := writeChart(filepath.Join(dir, chart.name), chart.size, chart.draw); err != nil {
			return err
		}
	}
	return nil
}

// writeChart writes a chart as .svg and .png.
func writeChart(path string, size vg.Point, paint func(draw.Canvas) error) error {
	png := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(size.X, size.Y), vgimg.UseDPI(144))}
	svg := vgsvg.New(size.X, size.Y)
	for _, out := range []struct {
		end    string
		canvas vg.CanvasWriterTo
	}{{".svg", svg}, {".png", png}} {
		canvas := draw.New(out.canvas)
		canvas.SetColor(color.White)
		canvas.Fill(canvas.Path())
		if err := paint(canvas); err != nil {
			return fmt.Errorf("draw %s%s: %w", path, out.end, err)
		}
		err := atomicfile.Write(path+out.end, func(w io.Writer) error {
			_, err := out.canvas.WriteTo(w)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// newChart returns an empty plot in the charts' style.
func newChart(title string) *plot.Plot {
	p := newPlot(title, "", "")
	p.Title.TextStyle.Font, p.Title.Padding = sans(13), vg.Points(6)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans(11), sans(10)
		a.Tick.LineStyle.Width, a.LineStyle.Width = vg.Points(0.5), vg.Points(0.5)
	}
	return p
}

func sans(size vg.Length) font.Font {
	return font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size)
}

// set gives a plot's axis its range and its round numbers.
func (a axis) set(to *plot.Axis, n int) {
	to.Min, to.Max, to.Tick.Marker = a.lo, a.hi, plot.ConstantTicks(a.ticks(n))
}

func (s *series) colour() color.Color { return hex(colours[s.Colour].Light) }

func (s *series) glyph() draw.GlyphStyle {
	return draw.GlyphStyle{Color: s.colour(), Radius: vg.Points(3.6), Shape: shapes[s.Shape]}
}

func hex(text string) color.Color {
	n, _ := strconv.ParseUint(text[1:], 16, 32) // one of colours
	return color.RGBA{uint8(n >> 16), uint8(n >> 8), uint8(n), 0xff}
}

var (
	quiet = color.Gray{0xdd}
	dark  = color.Gray{0x55}
)

func grid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = quiet, quiet
	return g
}

// drawScatter returns what draws a measure's chart, nil if nothing of it was measured. The legend stands to the right of the plot.
func (c *Comparison) drawScatter(m Measure) func(draw.Canvas) error {
	s, ok := c.scatter(m)
	if !ok {
		return nil
	}
	return func(canvas draw.Canvas) error {
		p := newChart(s.Title)
		p.X.Label.Text, p.Y.Label.Text = speedLabel, s.Y
		s.x.set(&p.X, 10)
		s.y.set(&p.Y, 8)
		legend := plot.NewLegend()
		legend.Top, legend.Left, legend.TextStyle.Font = true, true, sans(10)
		legend.Padding = vg.Points(3)
		p.Add(grid())
		if err := s.addBase(p, &legend); err != nil {
			return err
		}
		for i := range s.series {
			if err := s.addSeries(p, &legend, &s.series[i]); err != nil {
				return err
			}
		}
		if err := s.addFront(p, &legend); err != nil {
			return err
		}
		if s.over > 0 {
			legend.Add(fmt.Sprintf("at the top: above %s", short(s.y.hi)))
		}
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = s.x.lo, s.x.hi, s.y.lo, s.y.hi // Add widens them
		wide := min(legend.Rectangle(canvas).Size().X+vg.Points(28), canvas.Size().X/2)
		p.Draw(draw.Crop(canvas, vg.Points(6), -wide, vg.Points(6), -vg.Points(6)))
		legend.Draw(draw.Crop(canvas, canvas.Size().X-wide+vg.Points(12), 0, 0, -vg.Points(34)))
		return nil
	}
}

// dashes of lines that are no series.
func ruleStyle(width vg.Length, dash ...vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: dark, Width: width, Dashes: dash}
}

func (s *scatter) addBase(p *plot.Plot, legend *plot.Legend) error {
	if s.base == nil {
		return nil
	}
	band, err := plotter.NewPolygon(plotter.XYs{{X: s.x.lo, Y: s.base.Low}, {X: s.x.hi, Y: s.base.Low}, {X: s.x.hi, Y: s.base.High}, {X: s.x.lo, Y: s.base.High}})
	if err != nil {
		return err
	}
	band.Color, band.LineStyle.Width = color.Gray{0xec}, 0
	line, err := plotter.NewLine(plotter.XYs{{X: s.x.lo, Y: s.base.Value}, {X: s.x.hi, Y: s.base.Value}})
	if err != nil {
		return err
	}
	line.LineStyle = ruleStyle(vg.Points(1.2))
	p.Add(band, line)
	legend.Add("uncached, 95 %", line)
	return nil
}

func (s *scatter) addFront(p *plot.Plot, legend *plot.Legend) error {
	points := make(plotter.XYs, len(s.front))
	for i, cell := range s.front {
		points[i] = plotter.XY{X: cell.Speedup, Y: s.inside(s.m.of(cell).Value)}
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.LineStyle = ruleStyle(vg.Points(1), vg.Points(4), vg.Points(3))
	p.Add(line)
	legend.Add("frontier", line)
	return nil
}

// inside returns a value, or the end of the chart that it is beyond.
func (s *scatter) inside(v float64) float64 {
	if s.beyond(v) {
		return s.y.hi
	}
	return v
}

// errorPoints are values with the distances to the ends of their intervals.
type errorPoints struct {
	plotter.XYs
	plotter.YErrors
}

func (s *scatter) addSeries(p *plot.Plot, legend *plot.Legend, one *series) error {
	points := errorPoints{make(plotter.XYs, len(one.cells)), make(plotter.YErrors, len(one.cells))}
	for i, cell := range one.cells {
		q := s.m.of(cell)
		y := s.inside(q.Value)
		points.XYs[i] = plotter.XY{X: cell.Speedup, Y: y}
		if !s.beyond(q.Value) {
			points.YErrors[i].Low, points.YErrors[i].High = y-q.Low, s.inside(q.High)-y
		}
	}
	line, marks, err := plotter.NewLinePoints(points.XYs)
	if err != nil {
		return err
	}
	line.Color, line.Width, marks.GlyphStyle = one.colour(), vg.Points(0.8), one.glyph()
	bars, err := plotter.NewYErrorBars(points)
	if err != nil {
		return err
	}
	bars.Color, bars.Width, bars.CapWidth = one.colour(), vg.Points(0.8), vg.Points(4)
	p.Add(line, bars, marks)
	legend.Add(one.Name, line, marks)
	return nil
}

const stepColumns = 3

func (c *Comparison) stepTimeHeight() vg.Length {
	all, _ := c.chosen(timed)
	return vg.Length((len(all)+stepColumns-1)/stepColumns)*1.7*vg.Inch + 0.5*vg.Inch
}

// drawStepTime returns what draws a small plot of the time of each step for one cell of each method, all to the same scale, nil if no step was timed.
func (c *Comparison) drawStepTime() func(draw.Canvas) error {
	all, middle := c.chosen(timed)
	if len(all) == 0 {
		return nil
	}
	top, base := c.stepScale(all)
	return func(canvas draw.Canvas) error {
		rows := (len(all) + stepColumns - 1) / stepColumns
		plots := make([][]*plot.Plot, rows)
		for r := range plots {
			plots[r] = make([]*plot.Plot, stepColumns)
		}
		for i := range all {
			p, err := stepPlot(&all[i], top, base)
			if err != nil {
				return err
			}
			plots[i/stepColumns][i%stepColumns] = p
		}
		title := newChart("").Title.TextStyle
		title.XAlign, title.YAlign = draw.XCenter, draw.YTop
		heading := fmt.Sprintf("Time of each step (ms), of each method at about %s", times(middle))
		if base > 0 {
			heading += "; dashed: uncached"
		}
		canvas.FillText(title, vg.Point{X: canvas.Center().X, Y: canvas.Max.Y - vg.Points(6)}, heading)
		tiles := draw.Tiles{Rows: rows, Cols: stepColumns, PadX: vg.Points(12), PadY: vg.Points(10)}
		boxes := plot.Align(plots, tiles, draw.Crop(canvas, vg.Points(6), -vg.Points(10), vg.Points(6), -vg.Points(30)))
		for r := range plots {
			for i, p := range plots[r] {
				if p != nil {
					p.Draw(boxes[r][i])
				}
			}
		}
		return nil
	}
}

// stepScale returns the longest step of some cells, and the uncached model's usual step, 0 if it was not timed, in ms.
func (c *Comparison) stepScale(all []series) (top, base float64) {
	for _, s := range all {
		top = max(top, slices.Max(s.cells[0].StepMillis))
	}
	if b := c.baseline(); b != nil && timed(b) {
		base = median.Of(b.StepMillis)
	}
	return max(top, base, 1e-9), base
}

func stepPlot(s *series, top, base float64) (*plot.Plot, error) {
	cell := s.cells[0]
	n := len(cell.StepMillis)
	p := newChart(fmt.Sprintf("%s, %s", s.Name, times(cell.Speedup)))
	p.Title.TextStyle.Font, p.X.Label.TextStyle.Font, p.X.Label.Text = sans(10), sans(9), "step"
	points := make(plotter.XYs, n)
	for i, ms := range cell.StepMillis {
		points[i] = plotter.XY{X: float64(i + 1), Y: ms}
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return nil, err
	}
	fill := s.colour().(color.RGBA)
	line.StepStyle, line.Color, line.Width = plotter.MidStep, fill, vg.Points(0.8)
	line.FillColor = color.NRGBA{fill.R, fill.G, fill.B, 0x50}
	p.Add(line)
	if base > 0 {
		rule, err := plotter.NewLine(plotter.XYs{{X: 0.5, Y: base}, {X: float64(n) + 0.5, Y: base}})
		if err != nil {
			return nil, err
		}
		rule.LineStyle = ruleStyle(vg.Points(0.8), vg.Points(3), vg.Points(2))
		p.Add(rule)
	}
	axis{lo: 0.5, hi: float64(n) + 0.5}.set(&p.X, 5)
	axis{hi: top * 1.05}.set(&p.Y, 4)
	return p, nil
}

func (c *Comparison) memoryHeight() vg.Length {
	all, _ := c.memory()
	return vg.Length(len(all))*0.28*vg.Inch + 1.1*vg.Inch
}

// drawMemory returns what draws the size of each cell's cache, a row for each method, nil if there is no cache.
func (c *Comparison) drawMemory() func(draw.Canvas) error {
	all, most := c.memory()
	if len(all) == 0 {
		return nil
	}
	return func(canvas draw.Canvas) error {
		p := newChart("Memory that the cache takes, each method at all its speeds")
		p.X.Label.Text = "MB"
		p.Add(grid())
		names := make([]plot.Tick, len(all))
		for i := range all {
			s := &all[i]
			y := float64(len(all) - 1 - i)
			names[i] = plot.Tick{Value: y, Label: s.Name}
			points := make(plotter.XYs, len(s.cells))
			for j, cell := range s.cells {
				points[j] = plotter.XY{X: float64(cell.CacheBytes) / 1e6, Y: y}
			}
			marks, err := plotter.NewScatter(points)
			if err != nil {
				return err
			}
			marks.GlyphStyle = s.glyph()
			p.Add(marks)
		}
		axis{lo: -most * 0.02, hi: most * 1.04}.set(&p.X, 10)
		p.Y.Min, p.Y.Max, p.Y.Tick.Marker = -0.5, float64(len(all))-0.5, plot.ConstantTicks(names)
		p.Draw(draw.Crop(canvas, vg.Points(8), -vg.Points(10), vg.Points(6), -vg.Points(6)))
		return nil
	}
}
