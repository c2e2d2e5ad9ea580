package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// parse returns the elements of a document by name, and its text.
func parse(t *testing.T, document string) (elements map[string][]xml.StartElement, text string) {
	t.Helper()
	elements = map[string][]xml.StartElement{}
	for d := xml.NewDecoder(strings.NewReader(document)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return elements, text
		}
		if err != nil {
			t.Fatalf("%v in %s", err, document)
		}
		switch e := token.(type) {
		case xml.StartElement:
			elements[e.Name.Local] = append(elements[e.Name.Local], e.Copy())
		case xml.CharData:
			text += string(e)
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// every returns a drawing with every kind of shape, whose texts are markup.
func every() *Drawing {
	d := New(200, 100, `a "label" <b>`)
	d.Rect(Box{10, 10, 30, 20}, Style{Fill: Series[1], Class: "s g1"})
	d.Path(Line(Point{0, 0}, Point{50.123, 25}), Style{Stroke: Soft, Width: 1.5, Dash: []float64{4, 3}, Opacity: 0.5})
	d.Path(Polygon(Point{60, 60}, Point{80, 60}, Point{70, 80}), Style{Fill: Viridis(0.5)})
	d.Circle(Point{100, 50}, 5, Style{Fill: Paper, Stroke: Series[2], Width: 2, Tip: "<tip> & more"})
	d.Text(Point{100, 90}, "</text><script>\x00", Name.At(Middle))
	return d
}

func TestSVG(t *testing.T) {
	for name, document := range map[string]string{"file": string(every().SVG()), "inline": every().Inline("wide")} {
		t.Run(name, func(t *testing.T) {
			elements, text := parse(t, document)
			for element, want := range map[string]int{"svg": 1, "path": 2, "circle": 1, "text": 1, "script": 0} {
				if got := len(elements[element]); got != want {
					t.Errorf("%d elements %s, want %d", got, element, want)
				}
			}
			for _, want := range []string{"</text><script>\ufffd", "<tip> & more"} {
				if !strings.Contains(text, want) {
					t.Errorf("no text %q", want)
				}
			}
			root := elements["svg"][0]
			if got := attribute(root, "viewBox"); got != "0 0 200 100" {
				t.Errorf("view box %s", got)
			}
			if got := attribute(root, "aria-label"); got != `a "label" <b>` {
				t.Errorf("label %s", got)
			}
			line := elements["path"][0]
			for attr, want := range map[string]string{
				"d": "M0,0L50.12,25", "fill": "none", "class": "stroke-soft", "stroke-width": "1.5",
				"stroke-dasharray": "4 3", "opacity": "0.5",
			} {
				if got := attribute(line, attr); got != want {
					t.Errorf("%s of the line: %q, want %q", attr, got, want)
				}
			}
			if got, want := attribute(elements["path"][1], "fill"), hex(Viridis(0.5).Light); got != want {
				t.Errorf("fixed colour %q, want %q", got, want)
			}
		})
	}
}

// TestSVGStyles checks that a file has the colours that it uses, in both modes, and that an inline
// drawing leaves them to its page.
func TestSVGStyles(t *testing.T) {
	file := string(every().SVG())
	light, dark, ok := strings.Cut(file, "prefers-color-scheme:dark")
	if !ok {
		t.Fatal("no dark colours")
	}
	for _, c := range []Color{Paper, Ink, Soft, Series[1], Series[2]} {
		if !strings.Contains(light, hex(c.Light)) || !strings.Contains(dark, hex(c.Dark)) {
			t.Errorf("%s is missing", c.Name)
		}
	}
	if strings.Contains(file, ".fill-c7") || strings.Contains(file, "var(") {
		t.Error("unused colours or variables in a file")
	}
	if inline := every().Inline(""); strings.Contains(inline, "<style") || strings.Contains(inline, "xmlns") {
		t.Error("an inline drawing has styles")
	}
}
