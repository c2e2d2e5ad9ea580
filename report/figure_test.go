package report

import (
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/report/internal/chart"
)

func readPNG(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// count returns how many pixels have a colour, to two steps of 8 bits: antialiasing and the choice
// of colours round.
func count(m image.Image, c color.Color) int {
	pixels := image.NewRGBA(m.Bounds())
	draw.Draw(pixels, m.Bounds(), m, m.Bounds().Min, draw.Src)
	r, g, b, _ := c.RGBA()
	near := func(a uint8, b uint32) bool { return max(int(a), int(b>>8))-min(int(a), int(b>>8)) <= 2 }
	n := 0
	for i := 0; i < len(pixels.Pix); i += 4 {
		if near(pixels.Pix[i], r) && near(pixels.Pix[i+1], g) && near(pixels.Pix[i+2], b) {
			n++
		}
	}
	return n
}

// TestFigure draws one of every panel, with values that are hard: missing, equal, one.
func TestFigure(t *testing.T) {
	nan := math.NaN()
	path := filepath.Join(t.TempDir(), "figure.png")
	maps := [][][]float64{{{1, 2, 3, 4}}, {{nan, nan, nan, nan}}}
	lines := [][]float64{{1, nan, 3}, {nan, nan, nan}}
	f := Figure{
		Title: "title", Note: "note", Height: []int{200, 200, 200, 200, 200},
		Rows: [][]Panel{
			{
				Heat{Title: "a", Values: [][]float64{{0, 1}, {nan, 2}}},
				Heat{Title: "b", Values: [][]float64{{3}}, XLabel: []int{7}, YLabel: []int{8}, Narrow: true},
			},
			{Heat{Title: "c", Values: [][]float64{{0, 1e-3, 10}}, Scale: Scale{Log: true, Unit: "u"}}},
			{Tiles{Title: "d", Rows: []int{0, 3}, Cols: []int{1}, Side: 2, Values: maps}},
			{Lines{Title: "e", X: "step", Y: "y", Names: []string{"one", "two"}, Values: lines, Zero: true}},
			{StepBars{Title: "f", X: "step", Share: []float64{1, 0.5, 0}, Full: []bool{true, false, false}}},
		},
	}
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	m := readPNG(t, path)
	if got, want := m.Bounds().Size(), (image.Point{X: 1200, Y: 58 + 12 + 1000}); got != want {
		t.Errorf("size %v, want %v", got, want)
	}
	for _, c := range []chart.Color{
		chart.Viridis(0), chart.Viridis(1), chart.NoValue, chart.Full, chart.Partial, chart.Empty,
	} {
		if n := count(m, c.Light); n < 500 {
			t.Errorf("%d pixels of colour %v, want areas of it", n, c)
		}
	}
	// Of the three steps one is an I-step, and half of another is computed.
	full, part := count(m, chart.Full.Light), count(m, chart.Partial.Light)
	if math.Abs(float64(part)/float64(full)-0.5) > 0.08 {
		t.Errorf("%d pixels of the I-step, %d of what a P-step computes: want half as many", full, part)
	}
	d, err := f.draw()
	if err != nil {
		t.Fatal(err)
	}
	checkDrawing(t, string(d.SVG()),
		"title", "note", "a", "b", "c", "d", "e", "f", "7", "8", "u", "one", "I-step", "100 %")
	f.Rows[0] = []Panel{Heat{Title: "empty"}}
	if err := f.Write(path); err == nil {
		t.Error("a panel without values was drawn")
	}
}

// TestScaleAt checks where values are between bounds that the values themselves set.
func TestScaleAt(t *testing.T) {
	log := Scale{Log: true}.over([]float64{0, 0.01, math.NaN()}, []float64{1})
	none := Scale{Log: true}.over([]float64{0, 0})
	same := Scale{}.over([]float64{3, 3})
	given := Scale{Min: 1, Max: 3}.over([]float64{0, 9})
	for _, c := range []struct {
		name    string
		scale   Scale
		v, want float64
	}{
		{"zero has no logarithm", log, 0, 0},
		{"smallest", log, 0.01, 0},
		{"middle", log, 0.1, 0.5},
		{"largest", log, 1, 1},
		{"beyond", log, 5, 1},
		{"without positive values", none, 0.25, 0.25},
		{"equal values", same, 3, 0.5},
		{"given bounds", given, 2, 0.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.scale.at(c.v); math.Abs(got-c.want) > 1e-9 {
				t.Errorf("%g is at %g of %+v, want %g", c.v, got, c.scale, c.want)
			}
		})
	}
	if got := log.at(math.NaN()); !math.IsNaN(got) {
		t.Errorf("no number is at %g", got)
	}
}

// TestLossCurve checks that curves are drawn as they were and smoothed, on an axis that fits them,
// and that there is no file without values.
func TestLossCurve(t *testing.T) {
	steps := []int{10, 20, 30, 40}
	loss := Curve{Name: "loss", Steps: steps, Values: []float64{1, 0.5, math.Inf(1), 0.2}}
	masked := Curve{Name: "loss of masked passes", Steps: steps, Values: []float64{2, 1, 0.7, 0.5}}
	signed := Curve{Name: "loss", Steps: steps, Values: []float64{1, -0.5, math.NaN(), 0}}
	one := Curve{Name: "loss", Steps: steps[:1], Values: []float64{1}}
	flat := Curve{Name: "loss", Steps: steps, Values: []float64{1, 1, 1, 1}}
	for _, c := range []struct {
		name   string
		curves []Curve
		want   []string // texts; nil: no file
	}{
		{"one", []Curve{loss}, []string{"training loss", "loss", "update", "0.2", "0.5", "1"}},
		{"two", []Curve{loss, masked}, []string{"training loss", "loss of masked passes", "0.5", "2"}},
		{"one of two", []Curve{loss, one}, []string{"training loss", "0.5"}},
		{"not positive", []Curve{signed}, []string{"training loss", "-0.4", "0.0"}},
		{"flat", []Curve{flat}, []string{"training loss", "1.00"}},
		{"one value", []Curve{one}, nil},
		{"no values", []Curve{{Name: "loss"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "loss.png")
			if err := LossCurve(path, c.curves[0], c.curves[1:]...); err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				if _, err := os.Stat(path); err == nil {
					t.Error("a file without values was written")
				}
				return
			}
			m := readPNG(t, path)
			if got, want := m.Bounds().Size(), (image.Point{X: 1344, Y: 768}); got != want {
				t.Errorf("size %v, want %v", got, want)
			}
			if n := count(m, chart.Series[0].Light); n < 500 {
				t.Errorf("%d pixels of the curve", n)
			}
			checkDrawing(t, string(lossDrawing(c.curves).SVG()), c.want...)
		})
	}
}

func overlay() Overlay {
	grey := image.NewUniform(color.Gray{Y: 0x80})
	m := image.NewRGBA(image.Rect(0, 0, 4, 4))
	for i := range 16 {
		m.Set(i%4, i/4, grey.C)
	}
	o := Overlay{
		Title: "title",
		Names: []string{"grey"},
		Side:  2,
		Share: []float64{1, 0.25, 0},
		Full:  []bool{true, false, false},
	}
	for step, c := range [][]float32{{1, 1, 1, 1}, {1, 0, 0, 0}, {0, 0, 0, 0}} {
		o.Frames = append(o.Frames, OverlayFrame{Step: step, Images: []image.Image{m}, Computed: [][]float32{c}})
	}
	return o
}

// TestOverlay checks that as many tokens are tinted as were computed.
func TestOverlay(t *testing.T) {
	dir := t.TempDir()
	if err := overlay().WriteStrip(filepath.Join(dir, "a.png")); err != nil {
		t.Fatal(err)
	}
	m := readPNG(t, filepath.Join(dir, "a.png"))
	grey := color.RGBA{R: 0x80, G: 0x80, B: 0x80, A: 0xff}
	const tile = 102 * 102
	if got, want := count(m, tint(grey, 1)), tile*5/4; math.Abs(float64(got-want)) > 0.02*tile {
		t.Errorf("%d pixels tinted, want %d: five tokens, four to an image", got, want)
	}
	if got, want := count(m, grey), tile*3+tile*7/4; math.Abs(float64(got-want)) > 0.05*tile {
		t.Errorf("%d pixels as they were, want %d", got, want)
	}
	path := filepath.Join(dir, "a.gif")
	if err := overlay().WriteGIF(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g, err := gif.DecodeAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Image) != 3 || g.Delay[2] <= g.Delay[1] || g.LoopCount != 0 {
		t.Errorf("%d frames with delays %v, want 3, the last of them longest, for ever", len(g.Image), g.Delay)
	}
	const big = 384 * 384
	for i, want := range []int{big, big / 4, 0} {
		if got := count(g.Image[i], tint(grey, 1)); math.Abs(float64(got-want)) > 0.02*big {
			t.Errorf("frame %d: %d pixels tinted, want %d", i, got, want)
		}
	}
	bad := overlay()
	bad.Frames[1].Computed[0] = bad.Frames[1].Computed[0][:3]
	if bad.WriteGIF(path) == nil || bad.WriteStrip(path) == nil || (Overlay{}).WriteGIF(path) == nil {
		t.Error("an overlay with too few tokens, or none, was drawn")
	}
}

// TestQuantise checks that few colours are kept as they are, and that many come near.
func TestQuantise(t *testing.T) {
	few := image.NewRGBA(image.Rect(0, 0, 16, 16))
	many := image.NewRGBA(image.Rect(0, 0, 128, 128))
	for i := range 256 {
		few.Set(i%16, i/16, color.RGBA{R: uint8(i % 16 * 16), G: uint8(i / 16 * 16), A: 0xff})
	}
	for i := range 128 * 128 {
		many.Set(i%128, i/128, color.RGBA{R: uint8(2 * (i % 128)), G: uint8(2 * (i / 128)), B: 0x40, A: 0xff})
	}
	worst := func(m image.Image) int {
		q, worst := quantise(m), 0
		for y := range m.Bounds().Dy() {
			for x := range m.Bounds().Dx() {
				r, g, b, _ := m.At(x, y).RGBA()
				u, v, w, _ := q.At(x, y).RGBA()
				for _, d := range []int{int(r>>8) - int(u>>8), int(g>>8) - int(v>>8), int(b>>8) - int(w>>8)} {
					worst = max(worst, d, -d)
				}
			}
		}
		return worst
	}
	if d := worst(few); d != 0 {
		t.Errorf("256 colours are wrong by up to %d, want none", d)
	}
	// 256 boxes of a square of 256 x 256 are about 16 x 16, or 16 x 32 where they were cut once
	// less.
	if d := worst(many); d > 24 {
		t.Errorf("16384 colours are wrong by up to %d", d)
	}
}
