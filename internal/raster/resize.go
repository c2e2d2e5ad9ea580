package raster

import "math"

// CenterCrop returns a square image of size x size pixels, as DiT and ADM prepare their training
// images: halved by Box while the shorter side is at least twice the size, then resized by Bicubic
// until it is the size, then cut out of the middle.
func CenterCrop(m *Image, size int) (*Image, error) {
	var err error
	for min(m.Height, m.Width) >= 2*size && size > 0 {
		if m, err = Resize(m, m.Height/2, m.Width/2, Box); err != nil {
			return nil, err
		}
	}
	scale := float64(size) / float64(min(m.Height, m.Width))
	side := func(n int) int { return int(math.RoundToEven(float64(n) * scale)) }
	if m, err = Resize(m, side(m.Height), side(m.Width), Bicubic); err != nil {
		return nil, err
	}
	return crop(m, (m.Height-size)/2, (m.Width-size)/2, size)
}

// crop cuts out the square whose corner is at (y, x).
func crop(m *Image, y, x, size int) (*Image, error) {
	out, err := New(size, size, m.Channels)
	if err != nil {
		return nil, err
	}
	for i := range size {
		copy(out.Row(i), m.Row(y + i)[x*m.Channels:])
	}
	return out, nil
}

// Resize resizes an image as Pillow does, bit for bit: along rows first, then along columns, each
// result rounded to bytes.
func Resize(m *Image, height, width int, f Filter) (*Image, error) {
	out, err := New(height, width, m.Channels)
	if err != nil {
		return nil, err
	}
	wide := m
	if width != m.Width {
		if wide, err = New(m.Height, width, m.Channels); err != nil {
			return nil, err
		}
		taps := f.taps(m.Width, width)
		for y := range m.Height {
			blend(wide.Row(y), m.Row(y), taps, m.Channels)
		}
	}
	if height == m.Height {
		copy(out.Pix, wide.Pix)
		return out, nil
	}
	// Here each row counts as one pixel, with as many channels as the row has bytes.
	blend(out.Pix, wide.Pix, f.taps(m.Height, height), width*m.Channels)
	return out, nil
}

// weightBits is the number of binary places of a tap's weights.
const weightBits = 22

// tap says which pixels a new one is made of: len(weights) of them from first on. The weights sum
// to about 1<<weightBits.
type tap struct {
	first   int
	weights []int32
}

// blend sets len(taps) pixels of dst to weighted sums of the pixels of src.
func blend(dst, src []uint8, taps []tap, channels int) {
	for i, t := range taps {
		d, s := dst[i*channels:][:channels], src[t.first*channels:]
		for c := range d {
			sum := int32(1 << (weightBits - 1))
			for k, w := range t.weights {
				sum += int32(s[k*channels+c]) * w
			}
			d[c] = uint8(min(max(sum>>weightBits, 0), 255))
		}
	}
}
