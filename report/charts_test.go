package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// crowded is a comparison whose charts are hard: more methods than colours, names too long for
// legends, and a distance beyond the chart.
func crowded() *Results {
	r := example()
	r.Cells = r.Cells[:1]
	for m := range 20 {
		method := fmt.Sprintf("method %d", m)
		if m == 19 {
			method = "importance=random,ratio=0.5,k=3,selection=global,keys=cached,write-back=true,order=1"
		}
		for i, speed := range []float64{1.5, 2, 3, 4} {
			cell := exampleCell(m, i, method, speed)
			cell.Speedup = speed + 0.02*float64(m)
			r.Cells = append(r.Cells, cell)
		}
	}
	r.Cells[4].Frechet = about(7, 1)
	return r
}

// single is a comparison of one policy.
func single() *Results { return &Results{Cells: []Cell{exampleCell(1, 2, "FORA", 2)}} }

// svgText is a text of an SVG document.
type svgText struct {
	text                string
	left, right, top, y float64
}

// svgShapes returns the view box, the points that shapes reach, and the texts of a document.
func svgShapes(t *testing.T, document string) (w, h float64, points [][2]float64, texts []svgText) {
	t.Helper()
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	coordinates := regexp.MustCompile(`[ML](-?[0-9.]+),(-?[0-9.]+)`)
	for d := xml.NewDecoder(strings.NewReader(document)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return w, h, points, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		a := map[string]string{}
		for _, attribute := range e.Attr {
			a[attribute.Name.Local] = attribute.Value
		}
		switch e.Name.Local {
		case "svg":
			w, h = number(a["width"]), number(a["height"])
			if want := fmt.Sprintf("0 0 %s %s", a["width"], a["height"]); a["viewBox"] != want {
				t.Errorf("view box %q, want %q", a["viewBox"], want)
			}
		case "rect":
			x, y := number(a["x"]), number(a["y"])
			points = append(points, [2]float64{x, y}, [2]float64{x + number(a["width"]), y + number(a["height"])})
		case "circle":
			x, y, r := number(a["cx"]), number(a["cy"]), number(a["r"])
			points = append(points, [2]float64{x - r, y - r}, [2]float64{x + r, y + r})
		case "path":
			for _, p := range coordinates.FindAllStringSubmatch(a["d"], -1) {
				points = append(points, [2]float64{number(p[1]), number(p[2])})
			}
		case "text":
			var text string
			if err := d.DecodeElement(&text, &e); err != nil {
				t.Fatal(err)
			}
			size := number(a["font-size"])
			one := svgText{text: text, left: number(a["x"]), y: number(a["y"])}
			width := chart.TextWidth(text, size)
			one.left -= map[string]float64{"middle": 0.5, "end": 1}[a["text-anchor"]] * width
			one.right, one.top = one.left+width, one.y-0.75*size
			texts = append(texts, one)
		}
	}
}

// checkDrawing checks that a drawing is an SVG with nothing outside of its view box, with no texts
// over each other, and with the texts that are wanted.
func checkDrawing(t *testing.T, document string, want ...string) {
	t.Helper()
	w, h, points, texts := svgShapes(t, document)
	if len(points) < 5 || len(texts) < 5 {
		t.Errorf("%d points and %d texts", len(points), len(texts))
	}
	for _, p := range points {
		if p[0] < 0 || p[0] > w || p[1] < 0 || p[1] > h {
			t.Errorf("point %v is outside of %g x %g", p, w, h)
		}
	}
	for i, a := range texts {
		if a.left < 0 || a.right > w || a.top < 0 || a.y > h {
			t.Errorf("text %q, %.0f to %.0f, is outside of %g x %g", a.text, a.left, a.right, w, h)
		}
		for _, b := range texts[:i] {
			if a.left < b.right && b.left < a.right && a.top < b.y && b.top < a.y {
				t.Errorf("texts %q and %q are over each other", a.text, b.text)
			}
		}
	}
	for _, label := range want {
		if !slices.ContainsFunc(texts, func(v svgText) bool { return v.text == label }) {
			t.Errorf("no text %q", label)
		}
	}
	if strings.Contains(document, "NaN") || strings.Contains(document, "Inf") {
		t.Error("a coordinate is no number")
	}
}

// TestChartFiles checks the SVG and the PNG of every chart.
func TestChartFiles(t *testing.T) {
	labels := map[string][]string{
		"frontier-psnr": {
			"PSNR to the uncached images against speed-up", speedLabel, "PSNR (dB), higher is better", "frontier",
		},
		"frontier-converged": {
			"PSNR to the converged solution against speed-up", speedLabel, "PSNR (dB), higher is better", "frontier",
		},
		"frontier-frechet": {
			"Fréchet distance against speed-up", speedLabel, "Fréchet distance, lower is better", "frontier",
		},
		"pareto":        {"PSNR to the uncached images (dB)", "PSNR to the converged solution (dB)"},
		"pareto-narrow": {"PSNR to the uncached images (dB)", "PSNR to the converged solution (dB)"},
		"step-time":     {"Time of each step (ms)"},
		"memory":        {memoryTitle, "MB"},
	}
	for name, r := range map[string]*Results{"few": example(), "many": crowded(), "one": single()} {
		files := r.chartFiles()
		if len(files) != len(labels) {
			t.Errorf("%s: %d charts, want %d", name, len(files), len(labels))
		}
		for _, c := range files {
			t.Run(name+" "+c.name, func(t *testing.T) {
				want := labels[c.name]
				pareto := strings.HasPrefix(c.name, "pareto") // has names of cells and one colour
				for _, s := range r.series() {
					switch {
					case pareto:
					case len(s.Name) > 20: // is cut
					case c.name == "step-time":
						// Its titles have the speed-up too.
					default:
						want = append(want, s.Name)
					}
				}
				checkDrawing(t, string(c.drawing.SVG()), want...)
				if c.svgOnly {
					return
				}
				dir := t.TempDir()
				if err := writePNG(filepath.Join(dir, "a.png"), c.drawing, pngScale); err != nil {
					t.Fatal(err)
				}
				m := readPNG(t, filepath.Join(dir, "a.png"))
				size := image.Pt(int(2*c.drawing.Width), int(2*c.drawing.Height))
				if m.Bounds().Size() != size || size.X < 1000 || size.Y < 200 {
					t.Errorf("%v pixels, want %v", m.Bounds().Size(), size)
				}
				for _, s := range r.series()[:min(3, len(r.series()))] {
					if n := count(m, s.color().Light); n < 20 && c.name != "step-time" && !pareto {
						t.Errorf("%d pixels of the colour of %s", n, s.Name)
					}
				}
			})
		}
	}
}

// TestInlineCharts checks the page's charts, for screens and for phones.
func TestInlineCharts(t *testing.T) {
	for name, r := range map[string]*Results{"few": example(), "many": crowded(), "one": single()} {
		drawings := map[string]*chart.Drawing{}
		for m := range frontierFiles {
			s, ok := r.scatter(Measure(m))
			if !ok {
				t.Fatalf("%s: no chart of %s", name, s.Title)
			}
			drawings[s.Title+" wide"], drawings[s.Title+" narrow"] = s.inline(wide, 460), s.inline(narrow, 380)
		}
		m, _ := r.memory()
		drawings["memory wide"], drawings["memory narrow"] = m.inline(wide, false), m.inline(narrow, true)
		s, _ := r.stepTime()
		drawings["a step time"] = s.inline(&s.series[0])
		for title, d := range drawings {
			t.Run(name+" "+title, func(t *testing.T) { checkDrawing(t, d.Inline("")) })
		}
	}
}

// TestSeriesLooks checks that no two of 64 methods have the same colour and marker.
func TestSeriesLooks(t *testing.T) {
	seen := map[string]int{}
	for i := range 64 {
		s := series{Index: i}
		look := fmt.Sprint(s.color().Name, s.marker())
		if other, ok := seen[look]; ok {
			t.Errorf("methods %d and %d look alike", other, i)
		}
		seen[look] = i
	}
}

// TestScatterLimit checks that few distances far beyond the others are marked at the chart's edge.
func TestScatterLimit(t *testing.T) {
	s, ok := crowded().scatter(Frechet)
	if !ok || s.over != 1 {
		t.Fatalf("%d cells are beyond the chart, want 1", s.over)
	}
	if want := maxTimes * 0.6; s.y.Max != want {
		t.Errorf("the chart ends at %g, want %g", s.y.Max, want)
	}
	if name := s.keys()[len(s.keys())-1].Name; name != "above 2.40" {
		t.Errorf("the last key is %q, want above 2.40", name)
	}
	if s, _ := example().scatter(Frechet); s.over != 0 {
		t.Errorf("%d cells of the example are beyond the chart, want none", s.over)
	}
}
