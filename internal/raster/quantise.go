package raster

import "fmt"

// quantise converts a value of a sample, in [-1,1], to a byte as DiT's sample_ddp.py does, rounding
// to float32 after every operation. Values beyond that range become the nearest byte, infinities
// too, and NaN becomes 0.
func quantise(x float32) uint8 {
	x = float32(127.5*x) + 128
	switch {
	case x >= 255:
		return 255
	case x > 0:
		return uint8(x)
	}
	return 0
}

// FromSample converts a sample [channels, height, width] in [-1,1] to an image.
func FromSample(sample []float32, channels, height, width int) (*Image, error) {
	m, err := New(height, width, channels)
	if err != nil {
		return nil, err
	}
	if len(sample) != len(m.Pix) {
		return nil, fmt.Errorf("sample of %d values, want %d: [%d, %d, %d]",
			len(sample), len(m.Pix), channels, height, width)
	}
	plane := height * width
	for c := range channels {
		for i, x := range sample[c*plane:][:plane] {
			m.Pix[i*channels+c] = quantise(x)
		}
	}
	return m, nil
}

// Sample returns the image as DiT's training sees it: [Channels, Height, Width] in [-1,1].
func (m *Image) Sample() []float32 {
	sample := make([]float32, len(m.Pix))
	plane := m.Height * m.Width
	for i, v := range m.Pix {
		sample[i%m.Channels*plane+i/m.Channels] = (float32(v)/255 - 0.5) / 0.5
	}
	return sample
}
