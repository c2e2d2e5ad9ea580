package report

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/report/internal/chart"
)

// Overlay shows on the images of a run, step by step, which tokens were computed.
type Overlay struct {
	Title  string
	Note   string   // below the title of the strip, smaller
	Names  []string // of the images
	Side   int      // of the grid of tokens
	Frames []OverlayFrame
	Share  []float64 // of every step of the run: the share of tokens that was computed
	Full   []bool    // of every step: it is an I-step
}

// OverlayFrame is a step.
type OverlayFrame struct {
	Step     int
	Images   []image.Image
	Computed [][]float32 // of each image: the share of blocks that computed each token, [Side, Side]
}

func (o Overlay) check() error {
	if len(o.Frames) == 0 || len(o.Frames[0].Images) == 0 || o.Side < 1 || len(o.Full) != len(o.Share) {
		return errors.New("overlay without frames or images")
	}
	for _, f := range o.Frames {
		if len(f.Images) != len(o.Frames[0].Images) || len(f.Computed) != len(f.Images) ||
			f.Step < 0 || f.Step >= len(o.Full) {
			return fmt.Errorf("overlay of step %d: %d images, %d maps", f.Step, len(f.Images), len(f.Computed))
		}
		for _, c := range f.Computed {
			if len(c) != o.Side*o.Side {
				return fmt.Errorf("overlay of step %d: %d tokens, want %d x %d", f.Step, len(c), o.Side, o.Side)
			}
		}
	}
	return nil
}

// WriteStrip writes a PNG whose columns are at most ten of the frames. Each image has a row as it
// is predicted, and one with its computed tokens tinted.
func (o Overlay) WriteStrip(path string) error {
	if err := o.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, o.strip()) })
}

func (o Overlay) strip() image.Image {
	const maxFrames, left, tile, gap, top, foot = 10, 130, 102, 4, 94, 56
	count := min(len(o.Frames), maxFrames)
	images := len(o.Frames[0].Images)
	c := newCanvas(max(left+count*(tile+gap)+10, figureWidth), top+2*images*(tile+gap)+foot)
	room := float64(c.Bounds().Dx() - 2*figureMargin)
	c.text(figureMargin, 27, chart.Fit(o.Title, 18, room), 18, chart.Start)
	c.text(figureMargin, 47, chart.Fit(o.Note, 12, room), 12, chart.Start)
	for j := range count {
		f := o.Frames[0]
		if count > 1 {
			f = o.Frames[j*(len(o.Frames)-1)/(count-1)]
		}
		x := left + j*(tile+gap)
		c.text(x+tile/2, 70, fmt.Sprintf("step %d", f.Step), 13, chart.Middle)
		c.text(x+tile/2, 86, o.kind(f.Step), 12, chart.Middle)
		for i, m := range f.Images {
			area := image.Rect(x, top+2*i*(tile+gap), x+tile, top+2*i*(tile+gap)+tile)
			c.image(area, m)
			area = area.Add(image.Pt(0, tile+gap))
			c.image(area, m)
			c.tint(area, f.Computed[i], o.Side)
		}
	}
	for i := range images {
		y := top + 2*i*(tile+gap)
		if i < len(o.Names) {
			c.text(figureMargin, y+tile/2-12, chart.Fit(o.Names[i], 13, left-figureMargin-4), 13, chart.Start)
		}
		c.text(figureMargin, y+tile/2+8, "predicted image", 13, chart.Start)
		c.text(figureMargin, y+tile+gap+tile/2, "tokens computed", 13, chart.Start)
	}
	o.legend(c, left, top+2*images*(tile+gap)+14)
	return c.RGBA
}

// kind is what a step is, in a few characters.
func (o Overlay) kind(step int) string {
	if o.Full[step] {
		return "I"
	}
	return fmt.Sprintf("P, %.0f %%", 100*o.Share[step])
}

// legend explains the tint.
func (o Overlay) legend(c canvas, x, y int) {
	const width, height = 220, 24
	for i := range width {
		for j, under := range []uint8{0x00, 0x80, 0xff} {
			tinted := tint(color.RGBA{R: under, G: under, B: under, A: 0xff}, float64(i)/(width-1))
			c.fill(image.Rect(x+i, y+j*height/3, x+i+1, y+(j+1)*height/3), tinted)
		}
	}
	text := "0 to 100 % of the blocks compute the token, over black, grey and white"
	room := float64(c.Bounds().Dx() - x - width - 12 - 8)
	c.text(x+width+12, y+16, chart.Fit(text, 12, room), 12, chart.Start)
}

const maxTint = 0.75 // of a token that all blocks compute

// tint mixes a colour with the tint of a share of blocks: as its square root, so that a tenth
// shows.
func tint(c color.RGBA, share float64) color.RGBA {
	t := maxTint * math.Sqrt(min(max(share, 0), 1))
	mix := func(a, b uint8) uint8 { return uint8(math.Round((1-t)*float64(a) + t*float64(b))) }
	over := chart.Tint.Light
	return color.RGBA{R: mix(c.R, over.R), G: mix(c.G, over.G), B: mix(c.B, over.B), A: 0xff}
}

// WriteGIF writes the frames as an animation: the predicted images above, below them the same
// with the computed tokens tinted, and the I- and P-steps with the present one marked.
func (o Overlay) WriteGIF(path string) error {
	if err := o.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	const delay, lastDelay = 25, 250 // hundredths of a second
	var pages []image.Image
	var delays []int
	for _, f := range o.Frames {
		pages, delays = append(pages, o.frame(f)), append(delays, delay)
	}
	delays[len(delays)-1] = lastDelay
	return atomicfile.Write(path, func(w io.Writer) error { return encodeGIF(w, pages, delays) })
}

// frame draws a frame of the animation.
func (o Overlay) frame(f OverlayFrame) image.Image {
	const gap, top, foot = 8, 58, 100
	n := len(f.Images)
	tile := 232
	if n == 1 {
		tile = 384
	}
	width := max(n*(tile+gap)+gap, 640)
	c := newCanvas(width, top+2*(tile+gap)+foot)
	c.text(width/2, 24, chart.Fit(o.Title, 16, float64(width-2*gap)), 16, chart.Middle)
	c.text(width/2, 46, fmt.Sprintf("step %d of 0 to %d: %s", f.Step, len(o.Full)-1, o.long(f.Step)), 15, chart.Middle)
	left := (width - n*(tile+gap) + gap) / 2
	for i, m := range f.Images {
		x := left + i*(tile+gap)
		c.image(image.Rect(x, top, x+tile, top+tile), m)
		area := image.Rect(x, top+tile+gap, x+tile, top+2*tile+gap)
		c.image(area, m)
		c.tint(area, f.Computed[i], o.Side)
	}
	o.steps(c, image.Rect(gap, top+2*(tile+gap), width-gap, top+2*(tile+gap)+48), f.Step)
	o.legend(c, gap, top+2*(tile+gap)+66)
	return c.RGBA
}

func (o Overlay) long(step int) string {
	if o.Full[step] {
		return "I-step, all tokens computed"
	}
	return fmt.Sprintf("P-step, %.0f %% of the tokens computed", 100*o.Share[step])
}

// steps draws a column for each step, up to its share of computed tokens, and marks the present
// one.
func (o Overlay) steps(c canvas, area image.Rectangle, now int) {
	const mark = 8
	for i, share := range o.Share {
		x0, x1 := area.Min.X+i*area.Dx()/len(o.Share), area.Min.X+(i+1)*area.Dx()/len(o.Share)
		if x1-x0 > 4 {
			x1--
		}
		column := image.Rect(x0, area.Min.Y, x1, area.Max.Y-mark)
		with := chart.Partial.Light
		if o.Full[i] {
			share, with = 1, chart.Full.Light
		}
		c.fill(column, chart.Empty.Light)
		column.Min.Y = column.Max.Y - int(math.Round(float64(column.Dy())*min(max(share, 0), 1)))
		c.fill(column, with)
		if i == now {
			c.fill(image.Rect(x0, area.Max.Y-mark+2, max(x1, x0+2), area.Max.Y), chart.Ink.Light)
		}
	}
}
