package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image/png"
	"io"
	"slices"
	"strings"
)

//go:embed report.tmpl.html
var pageText string

var pageTemplate = template.Must(template.New("report").Parse(pageText))

// view is what the page's template is given: texts, ready to be shown.
type view struct {
	*Comparison
	Colours any
	Lead    string
	Advice  []adviceView
	Charts  []chartView
	Rows    []rowView
	Failed  []*Cell
	Weak    bool // a row's efficiency is marked
	Sheet   []stripView

	MoreSheet bool // some of the sheet are shown only when asked for
	Smooth    bool // the sheet's images are large enough not to show their pixels as squares
	Overlays  []imageView
	Steps     []stepView
	StepNote  string
	Overhead  []overheadView
	Memory    []spread
	Costs     []costView
	Facts     [][2]string
}

type adviceView struct {
	Advice
	Speedup, Method, Memory string
}

type chartView struct {
	Title, Note string
	Drawings    []drawing
	Legend      []keyView
}

type keyView struct {
	Name   string
	Index  int
	Sample drawing
}

// rowView is a cell as a row of the table.
type rowView struct {
	Method, Policy, Note string
	Badges               []string
	Base                 bool
	Numbers              []numberView
}

// numberView is a number of the table: what is shown, what is shown below it, and what it is sorted by, empty if it was not measured.
type numberView struct {
	Text, Below, Sort string
	Weak              bool
}

type stripView struct {
	Title, Note, Alt string
	PNG              template.URL
	More             bool
}

type imageView struct {
	Title         string
	Width, Height int
	PNG           template.URL
}

type stepView struct {
	Title   string
	Drawing drawing
}

type costView struct{ Method, Time, Command string }

// writeHTML writes the page, which refers to nothing outside of itself.
func (c *Comparison) writeHTML(w io.Writer, sheet []SheetRow, overlays []Picture) error {
	v := view{Comparison: c, Colours: colours, Lead: c.lead(), Memory: c.spreads(), Facts: c.facts()}
	for _, a := range c.Advice() {
		one := adviceView{Advice: a}
		if a.Cell != nil {
			one.Speedup, one.Method, one.Memory = times(a.Cell.Speedup), a.Cell.Method, bytesText(a.Cell.CacheBytes)
		}
		v.Advice = append(v.Advice, one)
	}
	for _, m := range []Measure{PSNR, Frechet} {
		if s, ok := c.scatter(m); ok {
			v.Charts = append(v.Charts, c.chart(&s))
		}
	}
	v.Rows, v.Failed = c.rows()
	v.Weak = slices.ContainsFunc(v.Rows, func(r rowView) bool { return slices.ContainsFunc(r.Numbers, func(n numberView) bool { return n.Weak }) })
	v.addSteps()
	for i := range c.Cells {
		if l, ok := c.Cells[i].overheadView(); ok {
			v.Overhead = append(v.Overhead, l)
		}
	}
	for _, cal := range c.Calibrations {
		v.Costs = append(v.Costs, costView{cal.Method, duration(cal.Seconds), cal.Command})
	}
	if err := v.addSheet(sheet); err != nil {
		return err
	}
	if err := v.addOverlays(overlays); err != nil {
		return err
	}
	return pageTemplate.Execute(w, &v)
}

// lead is the sentence below the title.
func (c *Comparison) lead() string {
	made, methods := 0, len(c.series())
	for i := range c.Cells {
		if c.Cells[i].made() {
			made++
		}
	}
	text := fmt.Sprintf("%s of %s", strings.Replace(counted(made, "policy"), "policys", "policies", 1), counted(methods, "method"))
	if c.Count > 0 {
		text += fmt.Sprintf(", the same %s from each", counted(c.Count, "image"))
	}
	if c.Processor != "" {
		text += ", on " + c.Processor
	}
	if c.Date != "" {
		text += ", " + c.Date
	}
	return text + "."
}

func (c *Comparison) chart(s *scatter) chartView {
	v := chartView{Title: s.Title, Drawings: s.drawings()}
	notes := []string{"Up and to the right is better."}
	if s.m == Frechet {
		notes[0] = "Down and to the right is better."
	}
	notes = append(notes, "Bars are 95 % intervals; the dashed line joins the policies that no other beats in both.")
	if s.m == Frechet && c.RealFrechet != nil {
		notes = append(notes, fmt.Sprintf("Real pictures themselves are at %s.", short(c.RealFrechet.Value)))
	}
	if s.over > 0 {
		notes = append(notes, fmt.Sprintf("Arrows: above %s, more than %d times the uncached model's.", short(s.y.hi), maxTimes))
	}
	v.Note = strings.Join(notes, " ")
	for i := range s.series {
		v.Legend = append(v.Legend, keyView{s.series[i].Name, s.series[i].Index, s.series[i].sample()})
	}
	return v
}

// rows returns the table: the uncached model, then the cells as they came; and the cells that could not be made.
func (c *Comparison) rows() (rows []rowView, failed []*Cell) {
	psnr, frechet := c.Frontier(PSNR), c.Frontier(Frechet)
	base := c.baseline()
	for i := range c.Cells {
		cell := &c.Cells[i]
		if cell.Error != "" {
			failed = append(failed, cell)
			continue
		}
		row := rowView{Method: cell.Method, Policy: cell.Policy, Note: cell.Note, Base: cell == base, Numbers: cell.numbers(base)}
		if slices.Contains(psnr, i) {
			row.Badges = append(row.Badges, "PSNR")
		}
		if slices.Contains(frechet, i) {
			row.Badges = append(row.Badges, "FD")
		}
		rows = append(rows, row)
	}
	return rows, failed
}

// numbers are a row's, in the order of the template's headings.
func (c *Cell) numbers(base *Cell) []numberView {
	number := func(v float64, text string) numberView {
		if v == 0 {
			return numberView{}
		}
		return numberView{Text: text, Sort: exact(v)}
	}
	interval := func(v *Interval, scale float64, format string) numberView {
		if v == nil {
			return numberView{}
		}
		return numberView{
			Text: fmt.Sprintf(format, scale*v.Value), Sort: exact(v.Value),
			Below: fmt.Sprintf(format, scale*v.Low) + " to " + fmt.Sprintf(format, scale*v.High),
		}
	}
	efficiency := number(c.Efficiency(), fmt.Sprintf("%.2f", c.Efficiency()))
	efficiency.Weak = c != base && efficiency.Sort != "" && c.Efficiency() < weakEfficiency
	frechet := interval(c.Frechet, 1, "%.3g")
	if c.Frechet != nil {
		frechet.Text, frechet.Below = short(c.Frechet.Value), short(c.Frechet.Low)+" to "+short(c.Frechet.High)
	}
	memory := numberView{Text: "0", Sort: "0"}
	if c.CacheBytes > 0 {
		memory = number(float64(c.CacheBytes), bytesText(c.CacheBytes))
	}
	steps := number(float64(c.ISteps+c.PSteps), fmt.Sprintf("%d + %d", c.ISteps, c.PSteps))
	if c.PSteps == 0 {
		steps.Text = fmt.Sprint(c.ISteps)
	}
	return []numberView{
		number(c.Speedup, times(c.Speedup)), number(c.FLOPReduction(), times(c.FLOPReduction())), efficiency,
		interval(c.PSNR, 1, "%.1f"), interval(c.SSIM, 1, "%.3f"), frechet, c.change(base), interval(c.Agreement, 100, "%.1f"),
		memory, steps, number(c.WallSeconds, short(c.WallSeconds)),
	}
}

// change is how much larger than the uncached model's a cell's Frechet distance is, in percent.
func (c *Cell) change(base *Cell) numberView {
	text := c.frechetChange(base)
	if c == base || text == "" {
		return numberView{}
	}
	ratio := 0.0
	if c.FrechetRatio != nil {
		ratio = c.FrechetRatio.Value
	} else {
		ratio = c.Frechet.Value / base.Frechet.Value
	}
	text, below, _ := strings.Cut(strings.Replace(text, " %", "", 1), ", ")
	return numberView{Text: text, Below: below, Sort: exact(ratio)}
}

func (v *view) addSteps() {
	all, middle := v.chosen(timed)
	if len(all) == 0 {
		return
	}
	top, base := v.stepScale(all)
	v.StepNote = fmt.Sprintf("Of each method the policy nearest to %s, all to the same scale, in milliseconds.", times(middle))
	if base > 0 {
		v.StepNote += " Dashed: a step of the uncached model."
	}
	for i := range all {
		v.Steps = append(v.Steps, stepView{fmt.Sprintf("%s, %s", all[i].Name, times(all[i].cells[0].Speedup)), stepDrawing(&all[i], top, base)})
	}
}

func (v *view) addSheet(sheet []SheetRow) error {
	side, _ := sheetSize(sheet)
	if side == 0 {
		return nil
	}
	v.Smooth = side > sheetSide
	for _, row := range sheet {
		var b bytes.Buffer
		if err := png.Encode(&b, beside(row.Images, side)); err != nil {
			return fmt.Errorf("images of %s: %w", row.Title, err)
		}
		v.Sheet = append(v.Sheet, stripView{row.Title, row.Note, counted(len(row.Images), "image") + ", " + row.Title, dataURL(b.Bytes()), row.More})
		v.MoreSheet = v.MoreSheet || row.More
	}
	return nil
}

func (v *view) addOverlays(overlays []Picture) error {
	for _, o := range overlays {
		size, err := png.DecodeConfig(bytes.NewReader(o.PNG))
		if err != nil {
			return fmt.Errorf("overlay %q: want a PNG: %w", o.Title, err)
		}
		v.Overlays = append(v.Overlays, imageView{o.Title, size.Width, size.Height, dataURL(o.PNG)})
	}
	return nil
}

// dataURL is a PNG as the source of an image; base64 has nothing that must be escaped.
func dataURL(png []byte) template.URL {
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(png))
}

// facts says how everything was measured, as far as it is known.
func (c *Comparison) facts() [][2]string {
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprint(n)
	}
	reference := c.Reference
	if reference != "" && c.ReferenceN > 0 {
		reference += ", " + counted(c.ReferenceN, "picture")
	}
	all := [][2]string{
		{"Model", c.Model}, {"Fingerprint of its weights", c.Fingerprint}, {"Sampler", c.Sampler}, {"Steps", c.Steps}, {"Guidance", known(c.Guidance)}, {"Seed", fmt.Sprint(c.Seed)},
		{"Images of each policy", number(c.Count)}, {"Images denoised together", number(c.Batch)}, {"Threads", number(c.Threads)}, {"Kernels", c.Level}, {"Processor", c.Processor},
		{"Network that judges", c.Features}, {"Real pictures", reference}, {"Fréchet distance of real pictures", c.RealFrechet.text(1, "")},
		{"Class agreement of real pictures", c.RealAgreement.text(100, " %")}, {"Date", c.Date}, {"Command", c.Command},
	}
	return slices.DeleteFunc(all, func(f [2]string) bool { return f[1] == "" })
}

func (v *Interval) text(scale float64, unit string) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%s%s (%s to %s)", short(scale*v.Value), unit, short(scale*v.Low), short(scale*v.High))
}
