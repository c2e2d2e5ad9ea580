package data

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"os"

	_ "golang.org/x/image/webp"

	"github.com/tokencache/tokencache/internal/raster"
)

// maxPixels is the number of pixels beyond which an image file is not decoded.
const maxPixels = 100_000_000

// headerSize reads the size of an image file from its header.
func headerSize(path string) (height, width int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, cause(err)
	}
	defer f.Close()
	return header(f)
}

func header(r io.Reader) (height, width int, err error) {
	c, _, err := image.DecodeConfig(bufio.NewReader(r))
	if errors.Is(err, image.ErrFormat) {
		return 0, 0, errors.New("not an image that can be read: want PNG, JPEG, WebP or GIF")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("image header: %w", noEOF(err))
	}
	if c.Height <= 0 || c.Width <= 0 || c.Height > maxPixels/c.Width {
		return 0, 0, fmt.Errorf("image of %dx%d pixels (height x width): want 1 to %d in all", c.Height, c.Width, maxPixels)
	}
	return c.Height, c.Width, nil
}

// decodeFile reads an image file as RGB.
func decodeFile(path string) (*raster.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	height, width, err := header(f)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	decoded, format, err := image.Decode(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("decode image: %w", noEOF(err))
	}
	if whole := image.Rect(0, 0, width, height); format != "gif" && decoded.Bounds() != whole {
		return nil, fmt.Errorf("image %v, its header says %v", decoded.Bounds(), whole)
	}
	return toRGB(decoded, height, width)
}

// toRGB makes a picture of an image as Pillow's convert("RGB") does: an alpha channel is dropped, 16 bits become their upper 8. The
// first frame of a GIF may lie somewhere inside the picture; what is around it is black, and so are its transparent pixels.
func toRGB(src image.Image, height, width int) (*raster.Image, error) {
	out, err := raster.New(height, width, 3)
	if err != nil {
		return nil, err
	}
	frame := src.Bounds().Intersect(image.Rect(0, 0, width, height))
	at := colours(src)
	for y := frame.Min.Y; y < frame.Max.Y; y++ {
		for x := frame.Min.X; x < frame.Max.X; x++ {
			c, to := at(x, y), out.Pix[3*(y*width+x):]
			to[0], to[1], to[2] = c.R, c.G, c.B
		}
	}
	return out, nil
}

// colours returns what gives the colour of each pixel, not multiplied by alpha.
func colours(src image.Image) func(x, y int) color.NRGBA {
	switch m := src.(type) {
	case *image.Gray:
		return func(x, y int) color.NRGBA {
			v := m.GrayAt(x, y).Y
			return color.NRGBA{v, v, v, 255}
		}
	case *image.NRGBA:
		return m.NRGBAAt
	case *image.NRGBA64:
		return func(x, y int) color.NRGBA {
			c := m.NRGBA64At(x, y)
			return color.NRGBA{uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8), uint8(c.A >> 8)}
		}
	case *image.RGBA:
		return func(x, y int) color.NRGBA {
			c := m.RGBAAt(x, y)
			if c.A == 255 {
				return color.NRGBA(c)
			}
			return straight(c)
		}
	case *image.YCbCr:
		return func(x, y int) color.NRGBA { return fromYCbCr(m.YCbCrAt(x, y)) }
	case *image.NYCbCrA:
		return func(x, y int) color.NRGBA { return fromYCbCr(m.YCbCrAt(x, y)) }
	case *image.Paletted:
		var palette [256]color.NRGBA
		for i, c := range m.Palette[:min(len(m.Palette), len(palette))] {
			palette[i] = straight(c)
		}
		return func(x, y int) color.NRGBA { return palette[m.ColorIndexAt(x, y)] }
	}
	return func(x, y int) color.NRGBA { return straight(src.At(x, y)) }
}

// straight is a colour not multiplied by alpha.
func straight(c color.Color) color.NRGBA { return color.NRGBAModel.Convert(c).(color.NRGBA) }

func fromYCbCr(c color.YCbCr) color.NRGBA {
	r, g, b := color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
	return color.NRGBA{r, g, b, 255}
}
