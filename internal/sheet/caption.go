package sheet

import (
	"fmt"
	"image"
	"image/color"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// captionFont writes captions. It must not be used by two goroutines at once.
type captionFont struct{ face font.Face }

var parseFont = sync.OnceValues(func() (*opentype.Font, error) { return opentype.Parse(goregular.TTF) })

func newCaptionFont() (*captionFont, error) {
	parsed, err := parseFont()
	if err != nil {
		return nil, fmt.Errorf("caption font: %w", err)
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: 14, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, fmt.Errorf("caption font: %w", err)
	}
	return &captionFont{face}, nil
}

// height is the height of a line, in pixels.
func (f *captionFont) height() int { return f.face.Metrics().Height.Ceil() }

// width is the width of text, in pixels.
func (f *captionFont) width(text string) int { return font.MeasureString(f.face, text).Ceil() }

// draw writes text into box, vertically centred and cut with an ellipsis to its width.
func (f *captionFont) draw(dst *image.Gray, text string, box image.Rectangle, centre bool) {
	text = f.fit(text, box.Dx())
	x := box.Min.X
	if centre {
		x += (box.Dx() - f.width(text)) / 2
	}
	m := f.face.Metrics()
	baseline := box.Min.Y + (box.Dy()+m.Ascent.Round()-m.Descent.Round())/2
	d := font.Drawer{Dst: dst, Src: image.NewUniform(color.Black), Face: f.face, Dot: fixed.P(x, baseline)}
	d.DrawString(text)
}

// fit cuts text to at most width pixels.
func (f *captionFont) fit(text string, width int) string {
	if f.width(text) <= width {
		return text
	}
	for runes := []rune(text); len(runes) > 0; runes = runes[:len(runes)-1] {
		if cut := string(runes) + "…"; f.width(cut) <= width {
			return cut
		}
	}
	return ""
}
