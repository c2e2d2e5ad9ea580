package report

import (
	"fmt"
	"slices"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/report/internal/chart"
)

// precisionChart is the name of the chart's files.
const precisionChart = "cache-x-precision"

const precisionTitle = "Cache × precision"

// precisionRow is a policy in all number formats.
type precisionRow struct {
	method, policy string
	wanted         float64
	cells          []*Cell // of each of precision's formats; nil: not measured
}

// precision crosses policies, in the order of the cells, with number formats, of which the
// comparison's own is the first. It returns nothing of a comparison in one format.
func (r *Results) precision() (formats []string, rows []precisionRow) {
	formats = []string{r.DType}
	for i := range r.Cells {
		if d := r.Cells[i].dtype(r); !slices.Contains(formats, d) {
			formats = append(formats, d)
		}
	}
	if len(formats) == 1 {
		return nil, nil
	}
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Error != "" {
			continue
		}
		at := slices.IndexFunc(rows, func(row precisionRow) bool {
			return row.method == c.Method && row.policy == c.Policy
		})
		if at < 0 {
			at = len(rows)
			rows = append(rows, precisionRow{c.Method, c.Policy, c.Wanted, make([]*Cell, len(formats))})
		}
		rows[at].cells[slices.Index(formats, c.dtype(r))] = c
	}
	return formats, rows
}

// precisionTable returns the crossing as texts, nil if there is none.
func (r *Results) precisionTable() *axesTable {
	formats, rows := r.precision()
	if len(rows) == 0 {
		return nil
	}
	t := &axesTable{
		Title: precisionTitle,
		Note: fmt.Sprintf("Wall-clock speed-up; mean PSNR in dB to the uncached images / to the converged solution; "+
			"change of the Fréchet distance with its paired 95 %% interval. All are against the uncached model "+
			"in %s, the converged solution is in %[1]s too.", r.DType),
		Head: append([]string{"policy"}, formats...),
	}
	base := r.baseline()
	for _, row := range rows {
		texts := []string{row.name()}
		for _, c := range row.cells {
			texts = append(texts, c.precisionText(base))
		}
		t.Rows = append(t.Rows, texts)
	}
	if note := r.disturbedNote(); note != "" {
		t.Note += " " + note
	}
	return t
}

// name is the row's first column.
func (row *precisionRow) name() string {
	if row.method == Uncached || row.method == row.policy {
		return row.method
	}
	return row.method + ": " + row.policy
}

// precisionText is a cell of the crossing.
func (c *Cell) precisionText(base *Cell) string {
	if c == nil {
		return "–"
	}
	mean := func(f *eval.Fidelity) string {
		if f == nil {
			return "–"
		}
		return fmt.Sprintf("%.1f", f.Mean)
	}
	uncached := mean(c.PSNRUncached)
	if c == base {
		uncached = "–"
	}
	text := times(c.Speedup)
	if c.Disturbed != "" {
		text += disturbedMark
	}
	text += fmt.Sprintf("; %s / %s", uncached, mean(c.PSNRConverged))
	if change := c.frechetChange(base); c != base && change != "" {
		text += "; " + change
	}
	return text
}

// precisionFile is a row of the crossing in results.json.
type precisionFile struct {
	Method string                         `json:"method"`
	Policy string                         `json:"policy"`
	Wanted float64                        `json:"wanted,omitempty"`
	Cells  map[string]precisionFileOfCell `json:"cells"` // by number format
}

// precisionFileOfCell repeats the figures of a cell that the crossing is about.
type precisionFileOfCell struct {
	Speedup       float64        `json:"speedup"`
	PSNRUncached  *eval.Fidelity `json:"psnr_uncached,omitempty"`
	PSNRConverged *eval.Fidelity `json:"psnr_converged,omitempty"`
	Frechet       *eval.Estimate `json:"frechet,omitempty"`
	FrechetRatio  *eval.Estimate `json:"frechet_ratio,omitempty"`
}

func (r *Results) precisionFiles() []precisionFile {
	formats, rows := r.precision()
	var list []precisionFile
	for _, row := range rows {
		f := precisionFile{row.method, row.policy, row.wanted, map[string]precisionFileOfCell{}}
		for i, c := range row.cells {
			if c != nil {
				f.Cells[formats[i]] = precisionFileOfCell{
					c.Speedup, c.PSNRUncached, c.PSNRConverged, c.Frechet, c.FrechetRatio,
				}
			}
		}
		list = append(list, f)
	}
	return list
}

// precisionPanel is the crossing as a chart of one measure: a colour for each number format, a
// marker for each method, and a line through each policy.
type precisionPanel struct {
	m       Measure
	title   string
	formats []string
	methods []string
	rows    []precisionRow
	x, y    chart.Axis
}

// precisionPanels returns the panels that there are numbers for.
func (r *Results) precisionPanels() []*precisionPanel {
	formats, rows := r.precision()
	var panels []*precisionPanel
	for _, p := range []*precisionPanel{
		{m: PSNR, title: "PSNR to the uncached images (dB)"},
		{m: ConvergedPSNR, title: "PSNR to the converged solution (dB)"},
	} {
		p.formats, p.rows = formats, rows
		fast := 1.2
		slow := 1.0
		var ys []float64
		for _, row := range rows {
			if !slices.Contains(p.methods, row.method) {
				p.methods = append(p.methods, row.method)
			}
			for _, c := range row.cells {
				if q := p.of(c); q != nil {
					slow, fast, ys = min(slow, c.Speedup), max(fast, c.Speedup), append(ys, q.Value)
				}
			}
		}
		if len(ys) == 0 {
			continue
		}
		p.x = chart.Axis{Min: slow * 0.96, Max: fast * 1.04, Log: true}
		p.y = chart.Around(slices.Min(ys), slices.Max(ys), 0.05)
		panels = append(panels, p)
	}
	return panels
}

// of returns what a panel shows of a cell, nil if that is nothing: the base has no PSNR to itself.
func (p *precisionPanel) of(c *Cell) *quality {
	if c == nil || c.Speedup <= 0 || p.m == PSNR && c.Base() {
		return nil
	}
	return p.m.of(c)
}

// precisionDrawing draws panels below each other with one legend: at the right or, where it is
// narrow, below.
func precisionDrawing(panels []*precisionPanel, narrow bool) *chart.Drawing {
	const panel, margin = 400.0, 8.0
	width, height := float64(paretoWide), panel*float64(len(panels))
	keys := panels[0].keys()
	room, legend := min(chart.LegendWidth(keys), 0.36*width)+margin, chart.LegendHeight(len(keys))
	if narrow {
		width, room = paretoNarrow, 0
		height += legend + 2*margin
	} else {
		height = max(height, legend+2*margin)
	}
	d := chart.New(width, height, precisionTitle)
	for i, p := range panels {
		top := float64(i) * panel
		p.draw(d, chart.Box{Left: 4, Top: top, Right: width - room - 4, Bottom: top + panel - margin})
	}
	box := chart.Box{Left: width - room, Top: 2 * margin, Right: width}
	if narrow {
		box = chart.Box{Left: 4, Top: panel*float64(len(panels)) + margin, Right: width}
	}
	d.Legend(box, keys)
	return d
}

func (p *precisionPanel) draw(d *chart.Drawing, box chart.Box) {
	plot := chart.Plot{Box: box, YLabel: p.title, XLabel: speedLabel, X: p.x, Y: p.y}
	plot.Layout()
	plot.Axes(d)
	for _, row := range p.rows {
		var line []chart.Point
		for _, c := range row.cells {
			if q := p.of(c); q != nil {
				line = append(line, plot.At(c.Speedup, q.Value))
			}
		}
		d.Path(chart.Line(line...), chart.Style{Stroke: chart.Rule, Width: 1})
	}
	for _, row := range p.rows {
		marker := slices.Index(p.methods, row.method) % chart.Markers
		for i, c := range row.cells {
			if q := p.of(c); q != nil {
				tip := fmt.Sprintf("%s, %s, %s: %s, %s",
					c.Method, c.Policy, p.formats[i], times(c.Speedup), short(q.Value))
				color := chart.Series[i%len(chart.Series)]
				d.Marker(marker, plot.At(c.Speedup, q.Value), markerRadius, color, "", tip)
			}
		}
	}
}

// keys are the legend: number formats, then methods.
func (p *precisionPanel) keys() []chart.Key {
	var keys []chart.Key
	for i, name := range p.formats {
		keys = append(keys, chart.Swatch(name, chart.Series[i%len(chart.Series)]))
	}
	for i, name := range p.methods {
		keys = append(keys, chart.Key{Name: name, Draw: func(d *chart.Drawing, left chart.Point) {
			at := chart.Point{X: left.X + chart.SampleWidth/2, Y: left.Y}
			d.Marker(i%chart.Markers, at, markerRadius, chart.Soft, "", "")
		}})
	}
	return keys
}
