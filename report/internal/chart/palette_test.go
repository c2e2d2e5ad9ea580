package chart

import (
	"image/color"
	"math"
	"strings"
	"testing"
)

// linear returns a colour's channels as light, 0 to 1.
func linear(c color.RGBA) (r, g, b float64) {
	f := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return f(c.R), f(c.G), f(c.B)
}

// contrast is WCAG's ratio of two colours, 1 to 21.
func contrast(a, b color.RGBA) float64 {
	luminance := func(c color.RGBA) float64 {
		r, g, b := linear(c)
		return 0.2126*r + 0.7152*g + 0.0722*b
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// oklab returns a colour in Ottosson's OKLab, in which equal distances look about equal.
func oklab(c color.RGBA) [3]float64 {
	r, g, b := linear(c)
	l := math.Cbrt(0.4122214708*r + 0.5363325363*g + 0.0514459929*b)
	m := math.Cbrt(0.2119034982*r + 0.6806995451*g + 0.1073969566*b)
	s := math.Cbrt(0.0883024619*r + 0.2817188376*g + 0.6299787005*b)
	return [3]float64{
		0.2104542553*l + 0.7936177850*m - 0.0040720468*s,
		1.9779984951*l - 2.4285922050*m + 0.4505937099*s,
		0.0259040371*l + 0.7827717662*m - 0.8086757660*s,
	}
}

var modes = []struct {
	name string
	of   func(Color) color.RGBA
}{
	{"light", func(c Color) color.RGBA { return c.Light }},
	{"dark", func(c Color) color.RGBA { return c.Dark }},
}

// TestSeriesColours checks that all pairs of series are told apart and that all are seen, on white
// and on black.
func TestSeriesColours(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			for i, a := range Series {
				if got := contrast(mode.of(a), mode.of(Paper)); got < 3 {
					t.Errorf("%s has a contrast of %.2f to the background, want 3", a.Name, got)
				}
				for _, b := range Series[:i] {
					p, q := oklab(mode.of(a)), oklab(mode.of(b))
					if d := math.Sqrt(sq(p[0]-q[0]) + sq(p[1]-q[1]) + sq(p[2]-q[2])); d < 0.08 {
						t.Errorf("%s and %s are %.3f apart, want 0.08", a.Name, b.Name, d)
					}
				}
			}
		})
	}
}

func sq(v float64) float64 { return v * v }

// TestTextColours checks that text can be read on every background that it stands on.
func TestTextColours(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			for _, c := range []struct{ text, back Color }{
				{Ink, Paper}, {Ink, Raised}, {Ink, Band}, {Soft, Paper}, {Soft, Raised},
				{Accent, Paper}, {Accent, Raised}, {Warn, WarnBack},
			} {
				if got := contrast(mode.of(c.text), mode.of(c.back)); got < 4.5 {
					t.Errorf("%s on %s has a contrast of %.2f, want 4.5", c.text.Name, c.back.Name, got)
				}
			}
		})
	}
}

// TestStyleSheet checks that every colour has a variable in both modes and its classes.
func TestStyleSheet(t *testing.T) {
	css := StyleSheet()
	if open, closed := strings.Count(css, "{"), strings.Count(css, "}"); open != closed {
		t.Errorf("%d braces open, %d close", open, closed)
	}
	for _, c := range palette() {
		for _, want := range []string{
			"--" + c.Name + ": " + hex(c.Light) + ";",
			"--" + c.Name + ": " + hex(c.Dark) + ";",
			".fill-" + c.Name + " { fill: var(--" + c.Name + "); }",
			".stroke-" + c.Name + " { stroke: var(--" + c.Name + "); }",
		} {
			if !strings.Contains(css, want) {
				t.Errorf("no %q", want)
			}
		}
	}
}

// TestViridis checks that lightness grows with the value, and the values that are none.
func TestViridis(t *testing.T) {
	last := -1.0
	for i := range 64 {
		l := oklab(Viridis(float64(i) / 63).Light)[0]
		if l <= last {
			t.Errorf("colour %d of 64 is no lighter than the one before", i)
		}
		last = l
	}
	for v, want := range map[float64]Color{-1: Viridis(0), 2: Viridis(1), 0: Fixed(viridis[0]), 1: Fixed(viridis[9])} {
		if got := Viridis(v); got != want {
			t.Errorf("%g is %v, want %v", v, got, want)
		}
	}
	if got := Viridis(math.NaN()); got != NoValue {
		t.Errorf("no number is %v, want %v", got, NoValue)
	}
}
