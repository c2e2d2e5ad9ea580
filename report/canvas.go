package report

import (
	"image"
	"image/color"

	"golang.org/x/image/draw"

	"github.com/tokencache/tokencache/report/internal/chart"
)

// canvas is an image of images and text, white at first.
type canvas struct{ *chart.Canvas }

func newCanvas(width, height int) canvas { return canvas{chart.NewCanvas(width, height)} }

// text writes text of a size in pixels with its baseline at (x, y).
func (c canvas) text(x, y int, text string, size float64, anchor chart.Anchor) {
	at := chart.Point{X: float64(x), Y: float64(y)}
	c.Text(at, text, chart.TextStyle{Size: size, Color: chart.Ink, Anchor: anchor})
}

// fill fills an area.
func (c canvas) fill(area image.Rectangle, with color.Color) {
	draw.Draw(c, area, image.NewUniform(with), image.Point{}, draw.Src)
}

// image puts m into the area.
func (c canvas) image(area image.Rectangle, m image.Image) {
	scaler := draw.Interpolator(draw.CatmullRom)
	if area.Dx() >= 2*m.Bounds().Dx() {
		scaler = draw.NearestNeighbor
	}
	scaler.Scale(c, area, m, m.Bounds(), draw.Src, nil)
}

// tint tints an area where tokens were computed. Computed is the share of blocks that computed
// each token, [side, side].
func (c canvas) tint(area image.Rectangle, computed []float32, side int) {
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			token := (y-area.Min.Y)*side/area.Dy()*side + (x-area.Min.X)*side/area.Dx()
			c.SetRGBA(x, y, tint(c.RGBAAt(x, y), float64(computed[token])))
		}
	}
}
