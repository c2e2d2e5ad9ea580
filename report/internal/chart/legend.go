package chart

// Key is an entry of a legend. Draw draws its sample about the middle of SampleWidth pixels; the
// left end of the sample is at the given point.
type Key struct {
	Name string
	Draw func(d *Drawing, left Point)
}

// SampleWidth is the width of a legend's samples, in pixels.
const SampleWidth = 24

const (
	keyGap  = 7.0  // from a sample to its name
	keyNext = 18.0 // from an entry to the next of a row
	keyLine = 20.0 // from an entry to the next of a column
)

// LegendWidth returns the width of a column of keys.
func LegendWidth(keys []Key) float64 {
	width := 0.0
	for _, k := range keys {
		width = max(width, SampleWidth+keyGap+TextWidth(k.Name, Name.Size))
	}
	return width
}

// LegendHeight returns the height of a column of n keys.
func LegendHeight(n int) float64 { return float64(n) * keyLine }

// Legend draws a column of keys from the upper left corner of a box, no wider than the box.
func (d *Drawing) Legend(b Box, keys []Key) {
	for i, k := range keys {
		y := b.Top + (float64(i)+0.5)*keyLine
		k.Draw(d, Point{b.Left, y})
		x := b.Left + SampleWidth + keyGap
		d.Text(Point{x, y + 4}, Fit(k.Name, Name.Size, b.Right-x), Name)
	}
}

// LegendRow draws keys one after the other on a line of text; the last one ends at right.
func (d *Drawing) LegendRow(right, baseline float64, keys []Key) {
	for i := len(keys) - 1; i >= 0; i-- {
		d.Text(Point{right, baseline}, keys[i].Name, Name.At(End))
		right -= TextWidth(keys[i].Name, Name.Size) + keyGap + SampleWidth
		keys[i].Draw(d, Point{right, baseline - 4})
		right -= keyNext
	}
}

// Swatch returns a key whose sample is an area of a colour.
func Swatch(name string, c Color) Key {
	return Key{name, func(d *Drawing, left Point) {
		d.Rect(Box{left.X, left.Y - 5, left.X + SampleWidth, left.Y + 5}, Style{Fill: c})
	}}
}

// Stroke returns a key whose sample is a line in a style.
func Stroke(name string, s Style) Key {
	return Key{name, func(d *Drawing, left Point) {
		d.Path(Line(left, Point{left.X + SampleWidth, left.Y}), s)
	}}
}
