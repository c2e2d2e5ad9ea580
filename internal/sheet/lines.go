package sheet

import (
	"image"
	"strings"
)

// lines breaks text at its line breaks and, where a line is wider than width pixels, behind spaces,
// commas and colons.
func (f *captionFont) lines(text string, width int) []string {
	var lines []string
	for part := range strings.SplitSeq(text, "\n") {
		line := ""
		for part != "" {
			end := strings.IndexAny(part, " ,:") + 1
			if end == 0 {
				end = len(part)
			}
			if line != "" && f.width(strings.TrimRight(line+part[:end], " ")) > width {
				lines, line = append(lines, strings.TrimRight(line, " ")), ""
			}
			line, part = line+part[:end], part[end:]
		}
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return lines
}

// block returns the width of text in lines: captionWidth at most, or, up to maxCaptionWidth, as
// much as it needs so that nothing is cut within height pixels.
func (f *captionFont) block(text string, height int) int {
	for limit := captionWidth; ; limit += 20 {
		widest, lines := 0, f.lines(text, limit)
		for _, line := range lines {
			widest = max(widest, f.width(line))
		}
		if widest <= limit && len(lines)*f.height() <= height || limit >= maxCaptionWidth {
			return min(widest, limit)
		}
	}
}

// drawLines writes text into box in lines, those that there is room for, vertically centred, and each
// line centred, too, if wanted.
func (f *captionFont) drawLines(dst *image.Gray, text string, box image.Rectangle, centre bool) {
	lines := f.lines(text, box.Dx())
	lines = lines[:min(len(lines), max(box.Dy()/f.height(), 1))]
	y := box.Min.Y + (box.Dy()-len(lines)*f.height())/2
	for _, line := range lines {
		f.draw(dst, line, image.Rect(box.Min.X, y, box.Max.X, y+f.height()), centre)
		y += f.height()
	}
}
