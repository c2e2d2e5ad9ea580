package data

import "fmt"

// withChannels makes grey images of RGB ones and the other way round, as Pillow's convert("L") and
// convert("RGB").
func withChannels(m *Image, channels int) (*Image, error) {
	if m.Channels == channels {
		return m, nil
	}
	out, err := newImage(m.Height, m.Width, channels)
	if err != nil {
		return nil, err
	}
	switch {
	case m.Channels == 1 && channels == 3:
		for i, v := range m.Pix {
			out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = v, v, v
		}
	case m.Channels == 3 && channels == 1:
		for i := range out.Pix {
			out.Pix[i] = luma(m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2])
		}
	default:
		return nil, fmt.Errorf("image of %d channels, want %d: only 1 and 3 can be converted", m.Channels, channels)
	}
	return out, nil
}

// luma is the brightness of a colour after ITU-R BT.601, in Pillow's integers: weights in 1/65536,
// rounded. That of a grey is itself.
func luma(r, g, b uint8) uint8 {
	return uint8((uint32(r)*19595 + uint32(g)*38470 + uint32(b)*7471 + 1<<15) >> 16)
}
