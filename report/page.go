package report

import (
	"fmt"
	"image"
	"image/color"
	"sync"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// page is a picture of pictures and text, white at first.
type page struct {
	*image.RGBA
	faces map[float64]font.Face
	font  *opentype.Font
}

var parseFont = sync.OnceValues(func() (*opentype.Font, error) { return opentype.Parse(goregular.TTF) })

func newPage(width, height int) (*page, error) {
	f, err := parseFont()
	if err != nil {
		return nil, fmt.Errorf("font: %w", err)
	}
	p := &page{RGBA: image.NewRGBA(image.Rect(0, 0, width, height)), faces: make(map[float64]font.Face), font: f}
	draw.Draw(p, p.Bounds(), image.NewUniform(background), image.Point{}, draw.Src)
	return p, nil
}

// Where the anchor of a text is.
const (
	begin  = 0
	middle = 1
)

// text writes text of a size in pixels with its baseline at (x, y), where it begins or what is its middle.
func (p *page) text(x, y int, text string, size float64, anchor int) {
	face := p.faces[size]
	if face == nil {
		var err error
		if face, err = opentype.NewFace(p.font, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull}); err != nil {
			return // the size is a constant: there is no error
		}
		p.faces[size] = face
	}
	if anchor == middle {
		x -= font.MeasureString(face, text).Round() / 2
	}
	d := font.Drawer{Dst: p, Src: image.NewUniform(textColor), Face: face, Dot: fixed.P(x, y)}
	d.DrawString(text)
}

// picture puts m into the area, and tints it where tokens were computed: shares of a grid of side x side, or none.
func (p *page) picture(area image.Rectangle, m image.Image, computed []float32, side int) {
	scaler := draw.Interpolator(draw.CatmullRom)
	if area.Dx() >= 2*m.Bounds().Dx() {
		scaler = draw.NearestNeighbor
	}
	scaler.Scale(p, area, m, m.Bounds(), draw.Src, nil)
	if computed == nil {
		return
	}
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			token := (y-area.Min.Y)*side/area.Dy()*side + (x-area.Min.X)*side/area.Dx()
			p.SetRGBA(x, y, tint(color.RGBAModel.Convert(p.At(x, y)).(color.RGBA), float64(computed[token])))
		}
	}
}
