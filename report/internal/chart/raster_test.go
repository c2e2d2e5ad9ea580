package chart

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"strings"
	"testing"
)

var black = Fixed(color.RGBA{A: 0xff})

// ink returns how many pixels' worth of black a white image has.
func ink(m image.Image) float64 {
	sum := 0.0
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			sum += 1 - float64(color.GrayModel.Convert(m.At(x, y)).(color.Gray).Y)/255
		}
	}
	return sum
}

// TestRenderAreas checks that shapes cover the areas that geometry says, at several scales.
func TestRenderAreas(t *testing.T) {
	stroke := Style{Stroke: black, Width: 2}
	dashes := Style{Stroke: black, Width: 2, Dash: []float64{5, 3}}
	for _, c := range []struct {
		name string
		draw func(d *Drawing)
		want float64 // pixels at scale 1
	}{
		{"rectangle", func(d *Drawing) { d.Rect(Box{10, 10, 40, 30}, Style{Fill: black}) }, 600},
		{"translucent", func(d *Drawing) { d.Rect(Box{10, 10, 40, 30}, Style{Fill: black, Opacity: 0.5}) }, 300},
		{"triangle", func(d *Drawing) {
			d.Path(Polygon(Point{10, 10}, Point{50, 10}, Point{10, 40}), Style{Fill: black})
		}, 600},
		{"disc", func(d *Drawing) { d.Circle(Point{30, 30}, 12, Style{Fill: black}) }, math.Pi * 144},
		{"ring", func(d *Drawing) { d.Circle(Point{30, 30}, 12, stroke) }, math.Pi * (13*13 - 11*11)},
		{"line", func(d *Drawing) { d.Path(Line(Point{10, 10}, Point{40, 50}), stroke) }, 100},
		{"square's outline", func(d *Drawing) {
			d.Path(Polygon(Point{10, 10}, Point{30, 10}, Point{30, 30}, Point{10, 30}), stroke)
		}, 22*22 - 18*18},
		{"right angle", func(d *Drawing) { d.Path(Line(Point{10, 10}, Point{30, 10}, Point{30, 30}), stroke) }, 80},
		{"there and back", func(d *Drawing) { d.Path(Line(Point{10, 10}, Point{30, 10}, Point{10, 10}), stroke) }, 40},
		{"points twice", func(d *Drawing) {
			d.Path(Line(Point{10, 10}, Point{10, 10}, Point{30, 10}, Point{30, 10}), stroke)
		}, 40},
		{"dashes", func(d *Drawing) { d.Path(Line(Point{10, 10}, Point{50, 10}), dashes) }, 50},
		{"dashes over a point", func(d *Drawing) {
			d.Path(Line(Point{10, 10}, Point{13, 10}, Point{50, 10}), dashes)
		}, 50},
		{"nothing", func(d *Drawing) { d.Path(Line(), stroke); d.Path(Line(Point{1, 1}), dashes) }, 0},
		{"outside", func(d *Drawing) { d.Path(Line(Point{-50, -50}, Point{-10, -10}), stroke) }, 0},
	} {
		for _, scale := range []float64{1, 2, 3} {
			t.Run(fmt.Sprintf("%s at %g", c.name, scale), func(t *testing.T) {
				d := New(60, 60, "")
				c.draw(d)
				m := d.Render(scale)
				if got, want := m.Bounds().Dx(), int(60*scale); got != want {
					t.Errorf("%d pixels wide, want %d", got, want)
				}
				want := c.want * scale * scale
				if got := ink(m); math.Abs(got-want) > 0.01*want+0.5 {
					t.Errorf("%.1f pixels painted, want %.1f", got, want)
				}
			})
		}
	}
}

// TestRectsHaveNoSeam checks that rectangles with a common edge leave nothing between them.
func TestRectsHaveNoSeam(t *testing.T) {
	d := New(100, 20, "")
	for i := range 7 {
		left := 100 * float64(i) / 7
		d.Rect(Box{left, 0, left + 100.0/7, 20}, Style{Fill: black})
	}
	if got := ink(d.Render(1)); got != 2000 {
		t.Errorf("%g of 2000 pixels painted", got)
	}
}

// TestRenderText checks where texts stand by their anchors.
func TestRenderText(t *testing.T) {
	for _, c := range []struct {
		anchor Anchor
		middle float64 // of the text, from its position, in widths of it
	}{{Start, 0.5}, {Middle, 0}, {End, -0.5}} {
		d := New(200, 40, "")
		d.Text(Point{100, 25}, "nnnn", TextStyle{16, black, c.anchor})
		m := d.Render(1)
		sum, at := 0.0, 0.0
		for y := range 40 {
			for x := range 200 {
				v := 255 - float64(m.RGBAAt(x, y).R)
				sum, at = sum+v, at+v*(float64(x)+0.5)
			}
		}
		want := 100 + c.middle*TextWidth("nnnn", 16)/slack
		if sum == 0 || math.Abs(at/sum-want) > 1 {
			t.Errorf("anchor %d: text about %.1f, want %.1f", c.anchor, at/sum, want)
		}
	}
}

func TestFit(t *testing.T) {
	const size = 12
	long := strings.Repeat("é×", 100)
	for _, width := range []float64{1000, 100, 20, 0} {
		got := Fit(long, size, width)
		if TextWidth(got, size) > max(width, TextWidth("…", size)) {
			t.Errorf("%q is wider than %g", got, width)
		}
		if !strings.HasSuffix(got, "…") || !strings.HasPrefix(long, strings.TrimSuffix(got, "…")) {
			t.Errorf("%q is no beginning of the text", got)
		}
	}
	if got := Fit("short", size, 100); got != "short" {
		t.Errorf("%q, want all of the text", got)
	}
}

// TestMarkers checks that no two markers look alike.
func TestMarkers(t *testing.T) {
	seen := map[string]int{}
	for kind := range Markers {
		d := New(20, 20, "")
		d.Marker(kind, Point{10, 10}, 5, black, "", "")
		m := d.Render(2)
		if ink(m) < 20 {
			t.Errorf("marker %d paints %.0f pixels", kind, ink(m))
		}
		if other, ok := seen[string(m.Pix)]; ok {
			t.Errorf("markers %d and %d look alike", other, kind)
		}
		seen[string(m.Pix)] = kind
	}
}
