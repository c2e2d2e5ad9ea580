package report

import (
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"gonum.org/v1/plot"
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

// count returns how many pixels have a colour, to two steps of 8 bits: antialiasing and the choice of colours round.
func count(m image.Image, c color.Color) int {
	n := 0
	r, g, b, _ := c.RGBA()
	near := func(a, b uint32) bool { return max(a, b)-min(a, b) <= 2*0x101 }
	for y := m.Bounds().Min.Y; y < m.Bounds().Max.Y; y++ {
		for x := m.Bounds().Min.X; x < m.Bounds().Max.X; x++ {
			if pr, pg, pb, _ := m.At(x, y).RGBA(); near(pr, r) && near(pg, g) && near(pb, b) {
				n++
			}
		}
	}
	return n
}

// TestFigure draws one of every panel, with values that are hard: missing, equal, one.
func TestFigure(t *testing.T) {
	nan := math.NaN()
	path := filepath.Join(t.TempDir(), "figure.png")
	f := Figure{
		Title: "title", Note: "note", Height: []int{200, 200, 200, 200, 200},
		Rows: [][]Panel{
			{Heat{Title: "a", Values: [][]float64{{0, 1}, {nan, 2}}}, Heat{Title: "b", Values: [][]float64{{3}}, XLabel: []int{7}, YLabel: []int{8}, Narrow: true}},
			{Heat{Title: "c", Values: [][]float64{{0, 1e-3, 10}}, Scale: Scale{Log: true, Unit: "u"}}},
			{Tiles{Title: "d", Rows: []int{0, 3}, Cols: []int{1}, Side: 2, Values: [][][]float64{{{1, 2, 3, 4}}, {{nan, nan, nan, nan}}}}},
			{Lines{Title: "e", Names: []string{"x", "y"}, Values: [][]float64{{1, nan, 3}, {nan, nan, nan}}, Zero: true}},
			{Schedule{Title: "f", Share: []float64{1, 0.5, 0}, Full: []bool{true, false, false}}},
		},
	}
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	m := readPNG(t, path)
	if got, want := m.Bounds().Size(), (image.Point{X: 1200, Y: 58 + 12 + 1000}); got != want {
		t.Errorf("size %v, want %v", got, want)
	}
	colors := viridis().Palette(256).Colors()
	for _, c := range []color.Color{colors[0], colors[255], noValue, fullColor, partialColor, emptyColor} {
		if n := count(m, c); n < 500 {
			t.Errorf("%d pixels of colour %v, want areas of it", n, c)
		}
	}
	// Of the schedule's three steps one is an I-step, and half of another is computed.
	if full, part := count(m, fullColor), count(m, partialColor); math.Abs(float64(part)/float64(full)-0.5) > 0.08 {
		t.Errorf("%d pixels of the I-step, %d of what a P-step computes: want half as many", full, part)
	}
	f.Rows[0] = []Panel{Heat{Title: "empty"}}
	if err := f.Write(path); err == nil {
		t.Error("a panel without values was drawn")
	}
}

// TestViridis holds that lightness grows with the value.
func TestViridis(t *testing.T) {
	last := -1.0
	for i, c := range viridis().Palette(64).Colors() {
		r, g, b, _ := c.RGBA()
		if l := 0.2126*float64(r) + 0.7152*float64(g) + 0.0722*float64(b); l <= last {
			t.Errorf("colour %d of 64 is no lighter than the one before", i)
		} else {
			last = l
		}
	}
}

func TestScale(t *testing.T) {
	s := Scale{Log: true}.over([]float64{0, 0.01, math.NaN()}, []float64{1})
	for v, want := range map[float64]float64{0: 0, 0.01: 0, 0.1: 0.5, 1: 1, 5: 1} {
		if got := s.at(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("%g is at %g of 0.01 to 1, want %g", v, got, want)
		}
	}
	if s := (Scale{Log: true}).over([]float64{0, 0}); s.Log || s.at(0.25) != 0.25 {
		t.Errorf("without positive values: %+v, want 0 to 1", s)
	}
	labels := func(ticks []plot.Tick) (list []string) {
		for _, t := range ticks {
			list = append(list, t.Label)
		}
		return list
	}
	if got := labels(axis{-0.2, 1}.ticks(7)); len(got) != 7 || got[0] != "-0.2" || got[1] != "0.0" || got[6] != "1.0" {
		t.Errorf("marks %q, want -0.2, 0, ... 1", got)
	}
	if got := labels(indexTicks(50, 8)); len(got) != 5 || got[4] != "40" {
		t.Errorf("marks %q, want 0, 10, ... 40", got)
	}
}

func overlay() Overlay {
	grey := image.NewUniform(color.Gray{Y: 0x80})
	picture := image.NewRGBA(image.Rect(0, 0, 4, 4))
	for i := range 16 {
		picture.Set(i%4, i/4, grey.C)
	}
	o := Overlay{Title: "title", Names: []string{"grey"}, Side: 2, Share: []float64{1, 0.25, 0}, Full: []bool{true, false, false}}
	for step, c := range [][]float32{{1, 1, 1, 1}, {1, 0, 0, 0}, {0, 0, 0, 0}} {
		o.Frames = append(o.Frames, OverlayFrame{Step: step, Pictures: []image.Image{picture}, Computed: [][]float32{c}})
	}
	return o
}

// TestOverlay holds that as many tokens are tinted as were computed.
func TestOverlay(t *testing.T) {
	dir := t.TempDir()
	if err := overlay().WriteStrip(filepath.Join(dir, "a.png")); err != nil {
		t.Fatal(err)
	}
	m := readPNG(t, filepath.Join(dir, "a.png"))
	grey := color.RGBA{R: 0x80, G: 0x80, B: 0x80, A: 0xff}
	const tile = 102 * 102
	if got, want := count(m, tint(grey, 1)), tile*5/4; math.Abs(float64(got-want)) > 0.02*tile {
		t.Errorf("%d pixels tinted, want %d: five tokens of four to a picture", got, want)
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

// TestQuantise holds that few colours are kept as they are, and that many come near.
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
		q, most := quantise(m), 0
		for y := range m.Bounds().Dy() {
			for x := range m.Bounds().Dx() {
				r, g, b, _ := m.At(x, y).RGBA()
				u, v, w, _ := q.At(x, y).RGBA()
				for _, d := range []int{int(r>>8) - int(u>>8), int(g>>8) - int(v>>8), int(b>>8) - int(w>>8)} {
					most = max(most, d, -d)
				}
			}
		}
		return most
	}
	if d := worst(few); d != 0 {
		t.Errorf("256 colours are wrong by up to %d, want none", d)
	}
	if d := worst(many); d > 24 { // 256 boxes of a square of 256 x 256 are about 16 x 16, or 16 x 32 where they were cut once less
		t.Errorf("16384 colours are wrong by up to %d", d)
	}
}
