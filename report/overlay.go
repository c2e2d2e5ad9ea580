package report

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"

	"golang.org/x/image/draw"

	"github.com/tokencache/tokencache/internal/atomicfile"
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
	Pictures []image.Image
	Computed [][]float32 // of each picture: the share of blocks that computed each token, [Side, Side]
}

var (
	tintColor  = color.RGBA{R: 0xff, G: 0x8c, B: 0x00, A: 0xff}
	background = color.RGBA{R: 0xff, G: 0xff, B: 0xff, A: 0xff}
	textColor  = color.RGBA{A: 0xff}
)

const mostTint = 0.75 // of a token that all blocks compute

func (o Overlay) check() error {
	if len(o.Frames) == 0 || len(o.Frames[0].Pictures) == 0 || o.Side < 1 || len(o.Full) != len(o.Share) {
		return errors.New("overlay without frames or pictures")
	}
	for _, f := range o.Frames {
		if len(f.Pictures) != len(o.Frames[0].Pictures) || len(f.Computed) != len(f.Pictures) || f.Step < 0 || f.Step >= len(o.Full) {
			return fmt.Errorf("overlay of step %d: %d pictures, %d maps", f.Step, len(f.Pictures), len(f.Computed))
		}
		for _, c := range f.Computed {
			if len(c) != o.Side*o.Side {
				return fmt.Errorf("overlay of step %d: %d tokens, want %d x %d", f.Step, len(c), o.Side, o.Side)
			}
		}
	}
	return nil
}

// WriteStrip writes a PNG: columns are steps, at most ten of the frames; each image has a row as it is predicted, and one with its computed tokens tinted.
func (o Overlay) WriteStrip(path string) error {
	if err := o.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	const most, left, tile, gap, top, foot = 10, 130, 102, 4, 94, 56
	count := min(len(o.Frames), most)
	pictures := len(o.Frames[0].Pictures)
	p, err := newPage(max(left+count*(tile+gap)+10, figureWidth), top+2*pictures*(tile+gap)+foot)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p.text(p.Bounds().Dx()/2, 24, o.Title, 17, middle)
	p.text(p.Bounds().Dx()/2, 44, o.Note, 12, middle)
	for j := range count {
		f := o.Frames[0]
		if count > 1 {
			f = o.Frames[j*(len(o.Frames)-1)/(count-1)]
		}
		x := left + j*(tile+gap)
		p.text(x+tile/2, 68, fmt.Sprintf("step %d", f.Step), 14, middle)
		p.text(x+tile/2, 84, o.kind(f.Step), 13, middle)
		for i, m := range f.Pictures {
			y := top + 2*i*(tile+gap)
			p.picture(image.Rect(x, y, x+tile, y+tile), m, nil, 0)
			p.picture(image.Rect(x, y+tile+gap, x+tile, y+2*tile+gap), m, f.Computed[i], o.Side)
		}
	}
	for i := range pictures {
		y := top + 2*i*(tile+gap)
		if i < len(o.Names) {
			p.text(10, y+tile/2-12, o.Names[i], 14, begin)
		}
		p.text(10, y+tile/2+8, "predicted image", 13, begin)
		p.text(10, y+tile+gap+tile/2, "tokens computed", 13, begin)
	}
	o.legend(p, left, top+2*pictures*(tile+gap)+14)
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, p) })
}

// kind is what a step is, in a few characters.
func (o Overlay) kind(step int) string {
	if o.Full[step] {
		return "I"
	}
	return fmt.Sprintf("P, %.0f %%", 100*o.Share[step])
}

// legend explains the tint.
func (o Overlay) legend(p *page, x, y int) {
	const width, height = 220, 24
	for i := range width {
		for j, under := range []uint8{0x00, 0x80, 0xff} {
			c := tint(color.RGBA{R: under, G: under, B: under, A: 0xff}, float64(i)/(width-1))
			draw.Draw(p, image.Rect(x+i, y+j*height/3, x+i+1, y+(j+1)*height/3), image.NewUniform(c), image.Point{}, draw.Src)
		}
	}
	p.text(x+width+12, y+16, "0 to 100 % of the blocks compute the token, over black, grey and white", 13, begin)
}

// tint mixes a colour with the tint of a share of blocks: as its square root, so that a tenth is seen.
func tint(c color.RGBA, share float64) color.RGBA {
	t := mostTint * math.Sqrt(min(max(share, 0), 1))
	mix := func(a, b uint8) uint8 { return uint8(math.Round((1-t)*float64(a) + t*float64(b))) }
	return color.RGBA{R: mix(c.R, tintColor.R), G: mix(c.G, tintColor.G), B: mix(c.B, tintColor.B), A: 0xff}
}

// WriteGIF writes the frames as an animation: the predicted images above, below them the same with the computed tokens tinted, and the schedule with the step.
func (o Overlay) WriteGIF(path string) error {
	if err := o.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var pages []image.Image
	var delays []int
	for i, f := range o.Frames {
		p, err := o.page(f)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		pages = append(pages, p)
		delays = append(delays, 25)
		if i == len(o.Frames)-1 {
			delays[i] = 250
		}
	}
	return atomicfile.Write(path, func(w io.Writer) error { return encodeGIF(w, pages, delays) })
}

// page draws a frame of the animation.
func (o Overlay) page(f OverlayFrame) (*page, error) {
	const gap, top, schedule = 8, 58, 100
	n := len(f.Pictures)
	tile := 232
	if n == 1 {
		tile = 384
	}
	width := max(n*(tile+gap)+gap, 640)
	p, err := newPage(width, top+2*(tile+gap)+schedule)
	if err != nil {
		return nil, err
	}
	p.text(width/2, 24, o.Title, 16, middle)
	p.text(width/2, 46, fmt.Sprintf("step %d of 0 to %d: %s", f.Step, len(o.Full)-1, o.long(f.Step)), 15, middle)
	left := (width - n*(tile+gap) + gap) / 2
	for i, m := range f.Pictures {
		x := left + i*(tile+gap)
		p.picture(image.Rect(x, top, x+tile, top+tile), m, nil, 0)
		p.picture(image.Rect(x, top+tile+gap, x+tile, top+2*tile+gap), m, f.Computed[i], o.Side)
	}
	o.schedule(p, image.Rect(gap, top+2*(tile+gap), width-gap, top+2*(tile+gap)+48), f.Step)
	o.legend(p, gap, top+2*(tile+gap)+66)
	return p, nil
}

func (o Overlay) long(step int) string {
	if o.Full[step] {
		return "I-step, all tokens computed"
	}
	return fmt.Sprintf("P-step, %.0f %% of the tokens computed", 100*o.Share[step])
}

// schedule draws a column for each step, up to its share of computed tokens, and marks the present one.
func (o Overlay) schedule(p *page, area image.Rectangle, now int) {
	const mark = 8
	for i, share := range o.Share {
		x0, x1 := area.Min.X+i*area.Dx()/len(o.Share), area.Min.X+(i+1)*area.Dx()/len(o.Share)
		if x1-x0 > 4 {
			x1--
		}
		full := image.Rect(x0, area.Min.Y, x1, area.Max.Y-mark)
		col := color.Color(partialColor)
		if o.Full[i] {
			share, col = 1, fullColor
		}
		draw.Draw(p, full, image.NewUniform(emptyColor), image.Point{}, draw.Src)
		part := full
		part.Min.Y = full.Max.Y - int(math.Round(float64(full.Dy())*min(max(share, 0), 1)))
		draw.Draw(p, part, image.NewUniform(col), image.Point{}, draw.Src)
		if i == now {
			draw.Draw(p, image.Rect(x0, area.Max.Y-mark+2, max(x1, x0+2), area.Max.Y), image.NewUniform(textColor), image.Point{}, draw.Src)
		}
	}
}
