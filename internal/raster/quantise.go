package raster

import (
	"fmt"
	"math"
)

// Quantisation makes a byte of a sample's value, whose range is [-1,1]. Values beyond it, infinities too, become the nearest
// byte, NaN becomes 0. The ways below differ, on up to half of all pixels; all work in float32, rounded at every operation.
type Quantisation func(x float32) uint8

// DiT is how DiT's sample_ddp.py makes the samples that are evaluated.
func DiT(x float32) uint8 { return truncate(float32(127.5*x) + 128) }

// ADM is how the scripts of guided-diffusion make them.
func ADM(x float32) uint8 { return truncate((x + 1) * 127.5) }

// SaveImage is how torchvision's save_image writes a picture when told that the range is [-1,1]; DiT's sample.py does so.
func SaveImage(x float32) uint8 {
	x = min(max(x, -1), 1)
	return truncate(float32((x+1)/2*255) + 0.5)
}

// Diffusers is how diffusers' image processor makes a picture: rounded half to even.
func Diffusers(x float32) uint8 {
	x = min(max(x/2+0.5, 0), 1)
	return truncate(float32(math.RoundToEven(float64(x * 255))))
}

// truncate clamps to [0,255] and drops the fraction.
func truncate(x float32) uint8 {
	switch {
	case x >= 255:
		return 255
	case x > 0:
		return uint8(x)
	}
	return 0
}

// FromSample makes a picture of a sample [channels, height, width].
func FromSample(sample []float32, channels, height, width int, quantise Quantisation) (*Image, error) {
	m, err := New(height, width, channels)
	if err != nil {
		return nil, err
	}
	if len(sample) != len(m.Pix) {
		return nil, fmt.Errorf("sample of %d values, want %d: [%d, %d, %d]", len(sample), len(m.Pix), channels, height, width)
	}
	plane := height * width
	for c := range channels {
		for i, x := range sample[c*plane:][:plane] {
			m.Pix[i*channels+c] = quantise(x)
		}
	}
	return m, nil
}

// Sample is the picture as DiT's training sees it: [Channels, Height, Width] in [-1,1].
func (m *Image) Sample() []float32 {
	sample := make([]float32, len(m.Pix))
	plane := m.Height * m.Width
	for i, v := range m.Pix {
		sample[i%m.Channels*plane+i/m.Channels] = (float32(v)/255 - 0.5) / 0.5
	}
	return sample
}
