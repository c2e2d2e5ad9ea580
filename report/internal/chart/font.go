package chart

import (
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
)

// parsedFont returns the font of all texts. It is a part of the program, so it does parse.
var parsedFont = sync.OnceValue(func() *opentype.Font {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		panic("the embedded font: " + err.Error())
	}
	return f
})

// newFace returns the font in a size in pixels.
func newFace(size float64) font.Face {
	face, err := opentype.NewFace(parsedFont(), &opentype.FaceOptions{Size: size, DPI: 72})
	if err != nil {
		panic("the embedded font: " + err.Error()) // of a font that was parsed there is none
	}
	return face
}

// measured is a large face for widths; a face is not safe for concurrent use.
var measured struct {
	sync.Mutex
	face font.Face
}

const measuredSize = 256

// slack is how much wider than the embedded font the fonts may be that viewers of SVG take.
const slack = 1.15

// TextWidth returns the room in pixels that a text of a size in pixels needs.
func TextWidth(text string, size float64) float64 {
	measured.Lock()
	defer measured.Unlock()
	if measured.face == nil {
		measured.face = newFace(measuredSize)
	}
	return float64(font.MeasureString(measured.face, text)) / 64 * size / measuredSize * slack
}

// Fit returns the text or, if it needs more room than width, its beginning with an ellipsis.
func Fit(text string, size, width float64) string {
	width += 1e-6 // rounding
	if TextWidth(text, size) <= width {
		return text
	}
	runes := []rune(text)
	for n := len(runes) - 1; n > 0; n-- {
		if short := string(runes[:n]) + "…"; TextWidth(short, size) <= width {
			return short
		}
	}
	return "…"
}
