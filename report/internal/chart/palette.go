package chart

import (
	"fmt"
	"image/color"
	"math"
	"strings"
)

// Color is a colour on white and its counterpart on black. The zero Color paints nothing.
type Color struct {
	Name        string // of the CSS variable and classes; empty: the same on white and on black
	Light, Dark color.RGBA
}

// Colours by their role in charts and in the page around them.
var (
	Paper    = named("paper", 0xffffff, 0x14171b)    // behind everything
	Raised   = named("raised", 0xf6f7f9, 0x1d2126)   // behind cards and heads of tables
	Ink      = named("ink", 0x1b1f24, 0xe6e9ec)      // text
	Soft     = named("soft", 0x59626d, 0xa2abb5)     // ticks and notes
	Rule     = named("rule", 0xd9dde2, 0x373d45)     // grids and borders
	Band     = named("band", 0xe6e9ed, 0x2a3037)     // intervals behind data
	Accent   = named("accent", 0x005fa3, 0x74b6f2)   // figures that matter
	Warn     = named("warn", 0x9c3d00, 0xffb184)     // text of warnings
	WarnBack = named("warnback", 0xfdeee2, 0x3b2718) // behind warnings

	Full    = named("full", 0x0072b2, 0x4c9be8)    // an I-step
	Partial = named("partial", 0xe69f00, 0xe69f00) // what a P-step computes
	Empty   = named("empty", 0xfbeed2, 0x3d3524)   // what a P-step reuses

	NoValue = Fixed(color.RGBA{R: 0xdd, G: 0xdd, B: 0xdd, A: 0xff}) // a missing value
	Tint    = Fixed(color.RGBA{R: 0xff, G: 0x8c, B: 0x00, A: 0xff}) // over computed tokens
)

// Series are the colours of series. They stay apart for the common colour blindnesses as far as
// eight can; the first four are close to those of Okabe and Ito. Markers do the rest.
var Series = [...]Color{
	named("c0", 0x0072b2, 0x4c9be8),
	named("c1", 0xd55e00, 0xff8a3d),
	named("c2", 0x008a66, 0x2fc79a),
	named("c3", 0xb5478f, 0xe58cc7),
	named("c4", 0x444444, 0xc8c8c8),
	named("c5", 0x9a7400, 0xe3c13f),
	named("c6", 0x3a9bd9, 0x8fd3ff),
	named("c7", 0x7d2248, 0xd0708c),
}

// Fixed returns a colour that is the same on white and on black.
func Fixed(c color.RGBA) Color { return Color{Light: c, Dark: c} }

func named(name string, light, dark uint32) Color { return Color{name, rgb(light), rgb(dark)} }

func rgb(v uint32) color.RGBA {
	return color.RGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 0xff}
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

func (c Color) paints() bool { return c.Light.A != 0 }

// palette returns all colours that have names.
func palette() []Color {
	all := []Color{Paper, Raised, Ink, Soft, Rule, Band, Accent, Warn, WarnBack, Full, Partial, Empty}
	return append(all, Series[:]...)
}

// StyleSheet returns the CSS of a page with inline drawings: a variable --NAME for each colour of
// the palette, which follows the reader's light or dark, and the classes of the drawings.
func StyleSheet() string {
	var light, dark, classes strings.Builder
	for _, c := range palette() {
		fmt.Fprintf(&light, " --%s: %s;", c.Name, hex(c.Light))
		fmt.Fprintf(&dark, " --%s: %s;", c.Name, hex(c.Dark))
		v := fmt.Sprintf("var(--%s)", c.Name)
		fmt.Fprintf(&classes, ".fill-%s { fill: %s; } .stroke-%s { stroke: %s; }\n", c.Name, v, c.Name, v)
	}
	return fmt.Sprintf(":root {%s }\n@media (prefers-color-scheme: dark) {\n:root {%s }\n}\n%s",
		light.String(), dark.String(), classes.String())
}

// viridis is the colour map of that name (van der Walt and Smith) at equal distances. Its
// lightness only grows, which people see alike whether or not they tell red and green apart.
var viridis = [...]color.RGBA{
	rgb(0x440154), rgb(0x482878), rgb(0x3e4a89), rgb(0x31688e), rgb(0x26828e),
	rgb(0x1f9e89), rgb(0x35b779), rgb(0x6dcd59), rgb(0xb4de2c), rgb(0xfde725),
}

// Viridis returns the colour of a value between 0 and 1, NoValue of NaN.
func Viridis(v float64) Color {
	if math.IsNaN(v) {
		return NoValue
	}
	at := min(max(v, 0), 1) * float64(len(viridis)-1)
	i := min(int(at), len(viridis)-2)
	a, b, t := viridis[i], viridis[i+1], at-float64(i)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a)*(1-t) + float64(b)*t)) }
	return Fixed(color.RGBA{R: mix(a.R, b.R), G: mix(a.G, b.G), B: mix(a.B, b.B), A: 0xff})
}
