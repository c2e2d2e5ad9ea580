package eval

import (
	"errors"
	"fmt"

	"github.com/tokencache/tokencache/internal/raster"
)

// Preprocessing is how images are brought to the size and the range of Inception's input. The two
// ways give different features of one image: they must not be mixed.
type Preprocessing int

const (
	// ADM is TensorFlow's graph, which the ADM evaluator runs: corners of pixels on corners, then
	// (byte - 128)/128.
	ADM Preprocessing = iota
	// PyTorchFID is that of pytorch-fid: centres of pixels on centres, then 2·byte/255 - 1.
	PyTorchFID
)

// Preprocessings are the names of all ways, in order.
var Preprocessings = []string{"adm", "pytorch-fid"}

func (p Preprocessing) String() string { return Preprocessings[p] }

// ParsePreprocessing is the inverse of String.
func ParsePreprocessing(name string) (Preprocessing, error) {
	for i, n := range Preprocessings {
		if n == name {
			return Preprocessing(i), nil
		}
	}
	return 0, fmt.Errorf("preprocessing %q: want one of %v", name, Preprocessings)
}

// tap says which two pixels along a side a result interpolates, and how near it is to the second.
type tap struct {
	low, high int
	part      float32
}

// taps are those of the InceptionSize results along a side of n pixels. Both ways round the scale
// to float32; ADM also rounds the positions, pytorch-fid's recorded values show that it does not.
func (p Preprocessing) taps(n int) []tap {
	list := make([]tap, InceptionSize)
	scale := float32(n) / InceptionSize
	for i := range list {
		at := float64(float32(i) * scale)
		if p == PyTorchFID {
			at = max((float64(i)+0.5)*float64(scale)-0.5, 0)
		}
		low := min(int(at), n-1)
		list[i] = tap{low: low, high: min(low+1, n-1), part: float32(at - float64(low))}
	}
	return list
}

// prepare sets dst to the pixels, [299*299, 3], of m. Grey is all three colours.
func (p Preprocessing) prepare(dst []float32, m *raster.Image) error {
	if m.Channels != 1 && m.Channels != 3 {
		return fmt.Errorf("%d channels, want 1 or 3", m.Channels)
	}
	if m.Height < 1 || m.Width < 1 || len(m.Pix) != m.Height*m.Width*m.Channels {
		return errors.New("an image without pixels")
	}
	rows, columns := p.taps(m.Height), p.taps(m.Width)
	value := func(y, x, c int) float32 {
		b := float32(m.Pix[(y*m.Width+x)*m.Channels+min(c, m.Channels-1)])
		if p == PyTorchFID {
			return b / 255
		}
		return b
	}
	for y, r := range rows {
		for x, t := range columns {
			for c := range 3 {
				a0, a1 := value(r.low, t.low, c), value(r.low, t.high, c)
				b0, b1 := value(r.high, t.low, c), value(r.high, t.high, c)
				at := (y*InceptionSize+x)*3 + c
				if p == PyTorchFID {
					top, bottom := (1-t.part)*a0+t.part*a1, (1-t.part)*b0+t.part*b1
					dst[at] = 2*((1-r.part)*top+r.part*bottom) - 1
					continue
				}
				top, bottom := a0+(a1-a0)*t.part, b0+(b1-b0)*t.part
				dst[at] = (top + (bottom-top)*r.part - 128) / 128
			}
		}
	}
	return nil
}
