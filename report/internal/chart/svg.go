package chart

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// SVG returns the drawing as an SVG file with its own background and colours, both of which
// follow the reader's light or dark. It needs no CSS variables, which many viewers do not know.
func (d *Drawing) SVG() []byte {
	var b strings.Builder
	d.open(&b, ` xmlns="http://www.w3.org/2000/svg" font-family="Helvetica, Arial, 'Liberation Sans', sans-serif"`)
	b.WriteString("\n<style>")
	used := d.used()
	for _, c := range used {
		fmt.Fprintf(&b, ".fill-%[1]s{fill:%[2]s}.stroke-%[1]s{stroke:%[2]s}", c.Name, hex(c.Light))
	}
	b.WriteString("@media(prefers-color-scheme:dark){")
	for _, c := range used {
		fmt.Fprintf(&b, ".fill-%[1]s{fill:%[2]s}.stroke-%[1]s{stroke:%[2]s}", c.Name, hex(c.Dark))
	}
	b.WriteString("}</style>\n")
	background := item{box: &Box{0, 0, d.Width, d.Height}, style: Style{Fill: Paper}}
	background.write(&b)
	b.WriteByte('\n')
	d.body(&b)
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// Inline returns the drawing as an element of a page that has StyleSheet. All that the drawing
// was given is escaped.
func (d *Drawing) Inline(class string) string {
	var b strings.Builder
	attributes := ""
	if class != "" {
		attributes = fmt.Sprintf(` class="%s"`, escape(class))
	}
	d.open(&b, attributes)
	d.body(&b)
	b.WriteString("</svg>")
	return b.String()
}

func (d *Drawing) open(b *strings.Builder, attributes string) {
	w, h := number(d.Width), number(d.Height)
	fmt.Fprintf(b, `<svg%s viewBox="0 0 %s %s" width="%s" height="%s"`, attributes, w, h, w, h)
	if d.Label == "" {
		b.WriteString(` aria-hidden="true"`)
	} else {
		fmt.Fprintf(b, ` role="img" aria-label="%s"`, escape(d.Label))
	}
	b.WriteString(` stroke-linejoin="round">`)
}

func (d *Drawing) body(b *strings.Builder) {
	for i := range d.items {
		d.items[i].write(b)
		b.WriteByte('\n')
	}
}

// used returns the named colours that the drawing needs, each once, in the palette's order.
func (d *Drawing) used() []Color {
	names := map[string]bool{Paper.Name: true}
	for _, i := range d.items {
		names[i.style.Fill.Name], names[i.style.Stroke.Name] = true, true
		if i.text != nil {
			names[i.text.style.Color.Name] = true
		}
	}
	var all []Color
	for _, c := range palette() {
		if names[c.Name] {
			all = append(all, c)
		}
	}
	return all
}

func (i *item) write(b *strings.Builder) {
	name := "path"
	switch {
	case i.text != nil:
		i.text.write(b)
		return
	case i.box != nil:
		name = "rect"
		fmt.Fprintf(b, `<rect x="%s" y="%s" width="%s" height="%s" shape-rendering="crispEdges"`,
			number(i.box.Left), number(i.box.Top), number(i.box.Width()), number(i.box.Height()))
	case i.radius > 0:
		name = "circle"
		fmt.Fprintf(b, `<circle cx="%s" cy="%s" r="%s"`, number(i.centre.X), number(i.centre.Y), number(i.radius))
	default:
		fmt.Fprintf(b, `<path d="%s"`, i.path.data())
	}
	i.style.write(b)
	if i.style.Tip == "" {
		b.WriteString("/>")
		return
	}
	fmt.Fprintf(b, "><title>%s</title></%s>", escape(i.style.Tip), name)
}

func (t *text) write(b *strings.Builder) {
	fmt.Fprintf(b, `<text x="%s" y="%s" font-size="%s"`, number(t.at.X), number(t.at.Y), number(t.style.Size))
	if a := t.style.Anchor; a != Start {
		fmt.Fprintf(b, ` text-anchor="%s"`, [...]string{Middle: "middle", End: "end"}[a])
	}
	Style{Fill: t.style.Color}.write(b)
	fmt.Fprintf(b, ">%s</text>", escape(t.text))
}

// write writes the attributes of a style.
func (s Style) write(b *strings.Builder) {
	var classes []string
	if s.Class != "" {
		classes = append(classes, s.Class)
	}
	paint := func(attribute string, c Color) {
		switch {
		case !c.paints():
			fmt.Fprintf(b, ` %s="none"`, attribute)
		case c.Name == "":
			fmt.Fprintf(b, ` %s="%s"`, attribute, hex(c.Light))
		default:
			classes = append(classes, attribute+"-"+c.Name)
		}
	}
	paint("fill", s.Fill)
	if s.Stroke.paints() {
		paint("stroke", s.Stroke)
		fmt.Fprintf(b, ` stroke-width="%s"`, number(s.Width))
	}
	if s.Dash != nil {
		var lengths []string
		for _, v := range s.Dash {
			lengths = append(lengths, number(v))
		}
		fmt.Fprintf(b, ` stroke-dasharray="%s"`, strings.Join(lengths, " "))
	}
	if s.Opacity != 0 {
		fmt.Fprintf(b, ` opacity="%s"`, number(s.Opacity))
	}
	if len(classes) > 0 {
		fmt.Fprintf(b, ` class="%s"`, escape(strings.Join(classes, " ")))
	}
}

// data returns a path in SVG's notation.
func (p Path) data() string {
	var b strings.Builder
	for _, c := range p {
		for i, point := range c.Points {
			command := "L"
			if i == 0 {
				command = "M"
			}
			b.WriteString(command + number(point.X) + "," + number(point.Y))
		}
		if c.Closed {
			b.WriteByte('z')
		}
	}
	return b.String()
}

// number writes a length to a hundredth of a pixel.
func number(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100+0, 'f', -1, 64) }

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder returns no error
	return b.String()
}
