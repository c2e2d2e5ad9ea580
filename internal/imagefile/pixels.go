package imagefile

import (
	"fmt"
	"image"
	"image/color"
)

// fromStandard makes an image of one of the kinds that the standard library's decoders return,
// dropping alpha. It takes over the pixels of m, so that no second image is allocated where the new
// one is no larger.
func fromStandard(m image.Image) (*Image, error) {
	b := m.Bounds()
	height, width := b.Dy(), b.Dx()
	switch m := m.(type) {
	case *image.Gray:
		return packed(m.Pix, m.Stride, 1, height, width, 0), nil
	case *image.Gray16:
		return packed(m.Pix, m.Stride, 2, height, width, 0), nil
	case *image.NRGBA:
		return packed(m.Pix, m.Stride, 4, height, width, 0, 1, 2), nil
	case *image.NRGBA64:
		return packed(m.Pix, m.Stride, 8, height, width, 0, 2, 4), nil
	case *image.RGBA:
		if !m.Opaque() {
			straighten(m.Pix)
		}
		return packed(m.Pix, m.Stride, 4, height, width, 0, 1, 2), nil
	case *image.RGBA64:
		if m.Opaque() {
			return packed(m.Pix, m.Stride, 8, height, width, 0, 2, 4), nil
		}
		out := newImage(height, width, 3)
		for i := range height * width {
			c := color.NRGBA64Model.Convert(m.RGBA64At(b.Min.X+i%width, b.Min.Y+i/width)).(color.NRGBA64)
			out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = uint8(c.R>>8), uint8(c.G>>8), uint8(c.B>>8)
		}
		return out, nil
	case *image.Paletted:
		var palette [256][3]uint8
		for i, c := range m.Palette[:min(len(m.Palette), len(palette))] {
			straight := color.NRGBAModel.Convert(c).(color.NRGBA)
			palette[i] = [3]uint8{straight.R, straight.G, straight.B}
		}
		out := newImage(height, width, 3)
		for y := range height {
			paint(out.row(y), m.Pix[y*m.Stride:][:width], &palette)
		}
		return out, nil
	}
	return nil, fmt.Errorf("pixels of kind %T", m)
}

// packed moves the wanted bytes of each pixel together, in place: those at offsets from each size
// bytes.
func packed(pix []uint8, stride, size, height, width int, offsets ...int) *Image {
	out := &Image{Height: height, Width: width, Channels: len(offsets), Pix: pix[:height*width*len(offsets)]}
	if size == len(offsets) && stride == size*width {
		return out
	}
	to := 0
	for y := range height {
		for from, end := y*stride, y*stride+width*size; from < end; from += size {
			for _, o := range offsets {
				pix[to] = pix[from+o]
				to++
			}
		}
	}
	return out
}

// straighten divides colours by their alpha, as far as 8 bits allow.
func straighten(pix []uint8) {
	for ; len(pix) >= 4; pix = pix[4:] {
		c := color.NRGBAModel.Convert(color.RGBA{R: pix[0], G: pix[1], B: pix[2], A: pix[3]}).(color.NRGBA)
		pix[0], pix[1], pix[2] = c.R, c.G, c.B
	}
}

// paint gives each index its colour.
func paint(dst, indices []uint8, palette *[256][3]uint8) {
	for i, v := range indices {
		copy(dst[3*i:][:3], palette[v][:])
	}
}
