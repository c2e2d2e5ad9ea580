package imagefile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
)

// Markers of a JPEG file, after 0xff.
const (
	jpegSOF0  = 0xc0 // start of frame: sequential
	jpegSOF2  = 0xc2 // progressive
	jpegDHT   = 0xc4
	jpegJPG   = 0xc8
	jpegDAC   = 0xcc
	jpegSOF15 = 0xcf
	jpegSOI   = 0xd8
	jpegEOI   = 0xd9
	jpegSOS   = 0xda
	jpegDRI   = 0xdd
	jpegAPP14 = 0xee
)

// jpegFrame is what a frame's header says.
type jpegFrame struct {
	marker        byte
	height, width int
	components    []jpegComponent
}

type jpegComponent struct {
	id   byte
	h, v int // sampling factors
}

// progressive says whether coefficients come in several scans, and are kept until the last.
func (f *jpegFrame) progressive() bool { return f.marker == jpegSOF2 }

// jpegHeader reads up to the frame's header.
func jpegHeader(r io.ReaderAt, size int64) (Header, error) {
	f, err := readJPEGFrame(bufio.NewReader(io.NewSectionReader(r, 0, size)))
	if err != nil {
		return Header{}, err
	}
	return Header{Height: f.height, Width: f.width, memory: f.memory()}, nil
}

// readJPEGFrame reads a file's segments up to the frame's header.
func readJPEGFrame(r *bufio.Reader) (*jpegFrame, error) {
	if _, err := r.Discard(2); err != nil {
		return nil, err
	}
	for {
		marker, err := nextJPEGMarker(r)
		if err != nil {
			return nil, err
		}
		if marker >= 0xd0 && marker <= jpegSOI || marker == 0x01 {
			continue // has no segment
		}
		if marker == jpegEOI || marker == jpegSOS {
			return nil, errors.New("JPEG without a frame's header")
		}
		var length [2]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return nil, err
		}
		n := int(length[0])<<8 + int(length[1]) - 2
		if n < 0 {
			return nil, errors.New("JPEG segment of a negative size")
		}
		if marker < jpegSOF0 || marker > jpegSOF15 || marker == jpegDHT || marker == jpegJPG || marker == jpegDAC {
			if _, err := r.Discard(n); err != nil {
				return nil, err
			}
			continue
		}
		segment := make([]byte, n)
		if _, err := io.ReadFull(r, segment); err != nil {
			return nil, err
		}
		return parseJPEGFrame(marker, segment)
	}
}

// nextJPEGMarker skips to the next marker, over what should not be there.
func nextJPEGMarker(r *bufio.Reader) (byte, error) {
	for {
		if b, err := r.ReadByte(); err != nil {
			return 0, err
		} else if b != 0xff {
			continue
		}
		b := byte(0xff)
		for b == 0xff {
			var err error
			if b, err = r.ReadByte(); err != nil {
				return 0, err
			}
		}
		if b != 0 {
			return b, nil
		}
	}
}

// parseJPEGFrame reads a frame's header and names the forms that cannot be decoded.
func parseJPEGFrame(marker byte, b []byte) (*jpegFrame, error) {
	switch marker {
	case jpegSOF0, jpegSOF0 + 1, jpegSOF2:
	case 0xc3, 0xc7, 0xcb, 0xcf:
		return nil, errors.New("lossless JPEG: want a baseline or progressive one")
	case 0xc5, 0xc6:
		return nil, errors.New("hierarchical JPEG: want a baseline or progressive one")
	default:
		return nil, errors.New("arithmetic-coded JPEG: want a Huffman-coded one")
	}
	if len(b) < 6 || len(b) != 6+3*int(b[5]) {
		return nil, fmt.Errorf("JPEG frame header of %d bytes", len(b))
	}
	if b[0] != 8 {
		return nil, fmt.Errorf("JPEG of %d bits a sample: want 8", b[0])
	}
	f := &jpegFrame{marker: marker, height: int(b[1])<<8 + int(b[2]), width: int(b[3])<<8 + int(b[4])}
	for c := b[6:]; len(c) > 0; c = c[3:] {
		f.components = append(f.components, jpegComponent{c[0], int(c[1] >> 4), int(c[1] & 15)})
	}
	return f, f.checkSampling()
}

// checkSampling refuses numbers of components and sampling factors that the standard library
// refuses, to name them.
func (f *jpegFrame) checkSampling() error {
	c := f.components
	for _, c := range c {
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return fmt.Errorf("JPEG of sampling factors %s: want 1 to 4", f.sampling())
		}
	}
	ok := true
	switch len(c) {
	case 1:
		c[0].h, c[0].v = 1, 1 // of one component alone the blocks are not grouped
	case 3:
		ok = c[0].h != 3 && c[0].v < 3 && c[1].h == c[2].h && c[1].v == c[2].v &&
			c[0].h%c[1].h == 0 && c[0].v%c[1].v == 0
	case 4:
		full := c[0].h == c[0].v && c[0].h <= 2 && c[3].h == c[0].h && c[3].v == c[0].v
		ok = full && c[1].h == 1 && c[1].v == 1 && c[2].h == 1 && c[2].v == 1
	default:
		return fmt.Errorf("JPEG of %d components: want 1, 3 or 4", len(c))
	}
	if !ok {
		return fmt.Errorf("JPEG of mixed sampling %s: want both chroma components alike, and the first to have a "+
			"multiple of their samples", f.sampling())
	}
	return nil
}

// sampling lists the components' factors, such as 2x2,1x1,1x1.
func (f *jpegFrame) sampling() string {
	s := ""
	for i, c := range f.components {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprintf("%dx%d", c.h, c.v)
	}
	return s
}

// blocks returns the number of blocks of component i, with or without those that only fill up the
// last groups.
func (f *jpegFrame) blocks(i int, filled bool) int64 {
	hMax, vMax := 1, 1
	for _, c := range f.components {
		hMax, vMax = max(hMax, c.h), max(vMax, c.v)
	}
	c := f.components[i]
	if filled {
		across, down := ceilDiv(f.width, 8*hMax)*c.h, ceilDiv(f.height, 8*vMax)*c.v
		return int64(across) * int64(down)
	}
	return int64(ceilDiv(f.width*c.h, 8*hMax)) * int64(ceilDiv(f.height*c.v, 8*vMax))
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// memory is what decoding takes: the planes, 4 bytes for each coefficient of a progressive file,
// and the image, which for 4 components is made of another one of 4 bytes a pixel.
func (f *jpegFrame) memory() int64 {
	var blocks int64
	for i := range f.components {
		blocks += f.blocks(i, true)
	}
	n := 64 * blocks
	if f.progressive() {
		n += 4 * 64 * blocks
	}
	pixels := int64(f.height) * int64(f.width)
	switch len(f.components) {
	case 3:
		n += 4 * pixels // 3, or 4 where the components are red, green and blue
	case 4:
		n += (4 + 4 + 3) * pixels
	}
	return n
}

func decodeJPEG(ctx context.Context, file []byte) (*Image, error) {
	f, err := readJPEGFrame(bufio.NewReader(bytes.NewReader(file)))
	if err != nil {
		return nil, err
	}
	s := f.survey(file)
	if most := freeVisits + fileVisits*int64(len(file)); s.visits > most {
		return nil, fmt.Errorf("JPEG of %d scans, which visit %d blocks in all: want at most %d for such a file",
			s.scans, s.visits, most)
	}
	if len(f.components) == 4 {
		return decodeCMYK(ctx, file, f, s)
	}
	m, err := jpeg.Decode(&contextReader{ctx, bytes.NewReader(file)})
	if err != nil {
		return nil, s.explain(f, err)
	}
	if m, ok := m.(*image.YCbCr); ok {
		return fromYCbCr(m), nil
	}
	return fromStandard(m)
}

// fromYCbCr makes an image of the planes of a JPEG.
func fromYCbCr(m *image.YCbCr) *Image {
	height, width := m.Rect.Dy(), m.Rect.Dx()
	h, v := 1, 1
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		h = 2
	case image.YCbCrSubsampleRatio420:
		h, v = 2, 2
	case image.YCbCrSubsampleRatio440:
		v = 2
	case image.YCbCrSubsampleRatio411:
		h = 4
	case image.YCbCrSubsampleRatio410:
		h, v = 4, 2
	}
	cb := plane{m.Cb, m.CStride, ceilDiv(height, v), ceilDiv(width, h)}
	cr := cb
	cr.pix = m.Cr
	out := newImage(height, width, 3)
	b, r := make([]uint8, h*cb.width), make([]uint8, h*cb.width)
	for y := range height {
		cb.upsample(b, y, h, v)
		cr.upsample(r, y, h, v)
		toRGB(out.row(y), m.Y[y*m.YStride:][:width], b, r)
	}
	return out
}
