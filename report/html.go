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

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/report/internal/chart"
)

//go:embed report.tmpl.html
var pageText string

var pageTemplate = template.Must(template.New("report").Parse(pageText))

// view is what the page's template is given: texts, ready to be shown.
type view struct {
	*Results
	Styles template.CSS
	Lead   string
	Advice []adviceView
	Charts []chartView
	Pareto []template.HTML
	Equal  []equalTable
	Axes   []axesTable // shadows the numbers

	PrecisionTable *axesTable // nil: one number format alone
	Precision      []template.HTML

	Mark   string // what the mark of disturbed times means
	Rows   []rowView
	Failed []*Cell
	Weak   bool // a row's efficiency is marked
	Sheet  []stripView

	MoreSheet bool // some of the sheet are shown only when asked for
	Smooth    bool // the sheet's images are large enough not to show their pixels as squares
	Overlays  []imageView
	Steps     []stepView
	StepNote  string
	Overhead  []overheadView
	Memory    []template.HTML
	Costs     []costView
	Facts     [][2]string

	NoConverged string // why there is no PSNR to the converged solution
}

type adviceView struct {
	Advice
	Speedup, Method, Memory string
}

type chartView struct {
	Title, Note string
	Drawings    []template.HTML
	Legend      []keyView
}

// keyView is an entry of a legend. ID is that of a series, empty for what is none.
type keyView struct {
	Name, ID string
	Sample   template.HTML
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
	Drawing template.HTML
}

type costView struct{ Method, Time, Command string }

// Widths of the page's charts: those of class wide are for screens, those of class narrow, which
// a phone shows instead, are as wide as a phone.
const wide, narrow = 1080, 360

// inline returns a drawing as a part of the page. It is safe: a drawing escapes its texts.
func inline(d *chart.Drawing, class string) template.HTML { return template.HTML(d.Inline(class)) }

// writeHTML writes the page, which refers to nothing outside of itself.
func (r *Results) writeHTML(w io.Writer, sheet []SheetRow, overlays []Image) error {
	v := view{Results: r, Styles: template.CSS(chart.StyleSheet()), Lead: r.lead(), Facts: r.facts()}
	for _, a := range r.Advice() {
		one := adviceView{Advice: a}
		if a.Cell != nil {
			one.Speedup, one.Method = times(a.Cell.Speedup), a.Cell.Name()
			one.Memory = bytesText(a.Cell.CacheBytes)
		}
		v.Advice = append(v.Advice, one)
	}
	if panels := r.paretos(); len(panels) > 0 {
		v.Pareto = append(v.Pareto, inline(paretoDrawing(panels, false), "wide"),
			inline(paretoDrawing(panels, true), "narrow"))
	}
	if v.PrecisionTable = r.precisionTable(); v.PrecisionTable != nil {
		panels := r.precisionPanels()
		v.Precision = append(v.Precision, inline(precisionDrawing(panels, false), "wide"),
			inline(precisionDrawing(panels, true), "narrow"))
	}
	v.Equal, v.Axes, v.Mark = r.equalTables(), r.axesTables(), r.disturbedNote()
	for m := range frontierFiles {
		if s, ok := r.scatter(Measure(m)); ok {
			v.Charts = append(v.Charts, r.chart(&s))
		}
	}
	if c := r.Converged; c != nil && c.None != "" {
		v.NoConverged = strings.ToUpper(c.None[:1]) + c.None[1:] + ", so that there is no PSNR to one."
	}
	v.Rows, v.Failed = r.rows()
	v.Weak = slices.ContainsFunc(v.Rows, rowView.weak)
	v.addSteps()
	if m, ok := r.memory(); ok {
		v.Memory = append(v.Memory, inline(m.inline(wide, false), "wide"), inline(m.inline(narrow, true), "narrow"))
	}
	for i := range r.Cells {
		if l, ok := r.Cells[i].overheadView(); ok {
			v.Overhead = append(v.Overhead, l)
		}
	}
	for _, cal := range r.Calibrations {
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
func (r *Results) lead() string {
	made, methods := 0, len(r.series())
	for i := range r.Cells {
		if r.Cells[i].made() {
			made++
		}
	}
	policies := fmt.Sprintf("%d policies", made)
	if made == 1 {
		policies = "1 policy"
	}
	text := fmt.Sprintf("%s of %s", policies, counted(methods, "method"))
	if r.Count > 0 {
		text += fmt.Sprintf(", the same %s from each", counted(r.Count, "image"))
	}
	if r.Processor != "" {
		text += ", on " + r.Processor
	}
	if r.Date != "" {
		text += ", " + r.Date
	}
	return text + "."
}

func (r *Results) chart(s *scatter) chartView {
	v := chartView{Title: s.Title, Drawings: []template.HTML{
		inline(s.inline(wide, 460), "wide"),
		inline(s.inline(narrow, 380), "narrow"),
	}}
	notes := []string{"Up and to the right is better."}
	if s.m == Frechet {
		notes[0] = "Down and to the right is better."
	}
	bars := "Bars reach from the mean of the images down to their 5th percentile"
	if s.m == Frechet {
		bars = "Bars are 95 % intervals"
	}
	notes = append(notes, bars+"; the dashed line joins the policies that no other beats in both.")
	if s.m == ConvergedPSNR {
		notes = append(notes, "The solid line is the uncached model itself, the band reaches down to its 5th percentile.")
	}
	if s.m == Frechet && r.RealFrechet != nil {
		notes = append(notes, fmt.Sprintf("Real images themselves are at %s.", short(r.RealFrechet.Value)))
	}
	if s.over > 0 {
		notes = append(notes, fmt.Sprintf("Arrows: above %s, more than %d times the uncached model's.",
			short(s.y.Max), maxTimes))
	}
	v.Note = strings.Join(notes, " ")
	for i, key := range s.keys() {
		sample := chart.New(chart.SampleWidth, 14, "")
		key.Draw(sample, chart.Point{Y: 7})
		one := keyView{Name: key.Name, Sample: inline(sample, "")}
		if i < len(s.series) {
			one.ID = s.series[i].id()
		}
		v.Legend = append(v.Legend, one)
	}
	return v
}

func (v *view) addSteps() {
	s, ok := v.stepTime()
	if !ok {
		return
	}
	v.StepNote = fmt.Sprintf("The policy of each method whose speed-up is nearest to %s, all to the same scale, "+
		"in milliseconds.", times(s.middle))
	if s.base > 0 {
		v.StepNote += " Dashed: a step of the uncached model."
	}
	for i := range s.series {
		one := &s.series[i]
		v.Steps = append(v.Steps, stepView{s.title(one), inline(s.inline(one), "")})
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
		if err := png.Encode(&b, strip(row.Images, side)); err != nil {
			return fmt.Errorf("images of %s: %w", row.Title, err)
		}
		v.Sheet = append(v.Sheet, stripView{
			Title: row.Title,
			Note:  row.Note,
			Alt:   counted(len(row.Images), "image") + ", " + row.Title,
			PNG:   dataURL(b.Bytes()),
			More:  row.More,
		})
		v.MoreSheet = v.MoreSheet || row.More
	}
	return nil
}

func (v *view) addOverlays(overlays []Image) error {
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
func (r *Results) facts() [][2]string {
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprint(n)
	}
	reference := r.Reference
	if reference != "" && r.ReferenceN > 0 {
		reference += ", " + counted(r.ReferenceN, "image")
	}
	all := [][2]string{
		{"Model", r.Model},
		{"Fingerprint of its weights", r.Fingerprint},
		{"Sampler", r.Sampler},
		{"Steps", r.stepsText()},
		{"Eta", known(r.Eta)},
		{"Guidance", known(r.Guidance)},
		{"Guidance power", known(r.GuidancePower)},
		{"Seed", fmt.Sprint(r.Seed)},
		{"Images of each policy", number(r.Count)},
		{"Images denoised together", number(r.Batch)},
		{"Threads", number(r.Threads)},
		{"Kernels", r.Level},
		{"Number format", r.DType},
		{"Processor", r.Processor},
		{"Evaluation network", r.Features},
		{"Real images", reference},
		{"Fréchet distance of real images", estimateText(r.RealFrechet, 1, "")},
		{"Class agreement of real images", estimateText(r.RealAgreement, 100, " %")},
		{"Converged solution", r.Converged.text()},
		{"Date", r.Date},
		{"Command", r.Command},
	}
	return slices.DeleteFunc(all, func(f [2]string) bool { return f[1] == "" })
}

// text says what the converged solution is, or why there is none.
func (c *Converged) text() string {
	switch {
	case c == nil:
		return ""
	case c.None != "":
		return c.None
	}
	text := fmt.Sprintf("of the first %s, by %d evaluations", counted(c.Images, "image"), c.Evaluations)
	if f := c.PSNRHalf; f != nil {
		text += fmt.Sprintf("; half of them give the same within %.1f dB, %.1f for the worst of the images checked "+
			"(latents %.1g)", f.Mean, f.Min, c.Error)
	}
	return text
}

// estimateText writes an estimate, scaled, with its interval; nothing if it was not measured.
func estimateText(v *eval.Estimate, scale float64, unit string) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%s%s (%s to %s)", short(scale*v.Value), unit, short(scale*v.Low), short(scale*v.High))
}
