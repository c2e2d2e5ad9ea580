package imagefile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
)

func isWebP(start string) bool {
	return len(start) >= 12 && start[:4] == "RIFF" && start[8:12] == "WEBP"
}

// webpFrame is the first frame of a WebP file: the whole image, or a part of an animation's canvas.
type webpFrame struct {
	canvasHeight, canvasWidth int
	y, x                      int // of the frame's corner on the canvas
	height, width             int
	lossless                  bool
	at, size                  int64 // of the coded frame in the file
}

// webpHeader finds the first frame.
func webpHeader(r io.ReaderAt, size int64) (Header, error) {
	f, err := findWebPFrame(r, size)
	if err != nil {
		return Header{}, err
	}
	pixels := int64(f.height) * int64(f.width)
	h := Header{Height: f.canvasHeight, Width: f.canvasWidth}
	if f.lossless {
		// Twice 4 bytes where there is a palette, tiles of a 16th of the pixels, and up to 2600
		// groups of 5 tables.
		h.memory = 8*pixels + pixels/2 + min(pixels/16+1, 2600)*5*600
	} else {
		blocks := int64(ceilDiv(f.height, 16)) * int64(ceilDiv(f.width, 16))
		h.memory = blocks*(256+128+16) + 3*pixels
	}
	if f.canvasHeight != f.height || f.canvasWidth != f.width {
		h.memory += 3 * int64(f.canvasHeight) * int64(f.canvasWidth)
	}
	return h, nil
}

// findWebPFrame walks over a file's chunks to its first coded frame. Alpha, which is a chunk of its
// own in lossy files, is passed over.
func findWebPFrame(r io.ReaderAt, size int64) (*webpFrame, error) {
	f := &webpFrame{}
	animated := false
	for at, left := int64(12), 1000; at < size; left-- {
		if left == 0 {
			return nil, errors.New("WebP of too many chunks")
		}
		head, err := readAt(r, at, 8)
		if err != nil {
			return nil, err
		}
		kind, length := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
		at += 8
		switch kind {
		case "VP8X":
			b, err := readAt(r, at, 10)
			if err != nil {
				return nil, err
			}
			animated = b[0]&2 != 0
			f.canvasWidth, f.canvasHeight = 1+uint24(b[4:]), 1+uint24(b[7:])
		case "ANMF":
			b, err := readAt(r, at, 16)
			if err != nil {
				return nil, err
			}
			f.x, f.y = 2*uint24(b), 2*uint24(b[3:])
			at += 16 // the frame's own chunks follow
			continue
		case "VP8 ", "VP8L":
			f.lossless = kind == "VP8L"
			f.at, f.size = at, min(length, size-at)
			return f, f.readSize(r, animated)
		}
		at += length + length&1
	}
	return nil, errors.New("WebP without an image")
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// readSize reads the size of the coded frame, and checks that it fits the canvas.
func (f *webpFrame) readSize(r io.ReaderAt, animated bool) error {
	coded := io.NewSectionReader(r, f.at, f.size)
	if f.lossless {
		c, err := vp8l.DecodeConfig(coded)
		if err != nil {
			return err
		}
		f.height, f.width = c.Height, c.Width
	} else {
		h, err := readVP8Header(vp8.NewDecoder(), coded)
		if err != nil {
			return err
		}
		f.height, f.width = h.Height, h.Width
	}
	if f.canvasWidth == 0 {
		f.canvasHeight, f.canvasWidth = f.height, f.width
	}
	if animated && f.y+f.height <= f.canvasHeight && f.x+f.width <= f.canvasWidth ||
		!animated && f.height == f.canvasHeight && f.width == f.canvasWidth {
		return nil
	}
	return fmt.Errorf("WebP frame of %dx%d pixels (height x width) at %d,%d of a canvas of %dx%d",
		f.height, f.width, f.y, f.x, f.canvasHeight, f.canvasWidth)
}

func readVP8Header(d *vp8.Decoder, coded *io.SectionReader) (vp8.FrameHeader, error) {
	d.Init(coded, int(coded.Size()))
	h, err := d.DecodeFrameHeader()
	if err == nil && !h.KeyFrame {
		err = errors.New("WebP that begins with a difference")
	}
	return h, err
}

func decodeWebP(ctx context.Context, file []byte) (*Image, error) {
	f, err := findWebPFrame(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	coded := file[f.at:][:f.size]
	var m *Image
	if f.lossless {
		decoded, err := vp8l.Decode(&contextReader{ctx, bytes.NewReader(coded)})
		if err != nil {
			return nil, err
		}
		if m, err = fromStandard(decoded); err != nil {
			return nil, err
		}
	} else {
		d := vp8.NewDecoder()
		if _, err := readVP8Header(d, io.NewSectionReader(&contextReader{ctx, bytes.NewReader(coded)}, 0, f.size)); err != nil {
			return nil, err
		}
		decoded, err := d.DecodeFrame()
		if err != nil {
			return nil, err
		}
		m = fromVP8(decoded)
	}
	if f.height == f.canvasHeight && f.width == f.canvasWidth {
		return m, nil
	}
	out := newImage(f.canvasHeight, f.canvasWidth, 3) // transparent black around the frame
	for y := range f.height {
		copy(out.row(f.y + y)[3*f.x:], m.row(y))
	}
	return out, nil
}

// fromVP8 makes an image of the planes of a lossy WebP, whose chroma is halved both ways.
func fromVP8(m *image.YCbCr) *Image {
	height, width := m.Rect.Dy(), m.Rect.Dx()
	u := plane{m.Cb, m.CStride, ceilDiv(height, 2), ceilDiv(width, 2)}
	v := u
	v.pix = m.Cr
	out := newImage(height, width, 3)
	us, vs := make([]uint8, 2*u.width), make([]uint8, 2*u.width)
	for y := range height {
		far := u.neighbour(y)
		interpolateVP8(us, u.row(y/2), u.row(far), width)
		interpolateVP8(vs, v.row(y/2), v.row(far), width)
		vp8ToRGB(out.row(y), m.Y[y*m.YStride:][:width], us, vs)
	}
	return out
}

// interpolateVP8 doubles the width of the row of chroma that lies between near and far, nearer to
// the first, as libwebp does: each sample lies between four, of which it is nearest to one.
func interpolateVP8(dst, near, far []uint8, width int) {
	edge := func(i int) uint8 { return uint8((3*int(near[i]) + int(far[i]) + 2) >> 2) }
	dst[0] = edge(0)
	last := len(near) - 1
	for i := range last {
		a, b, c, d := int(near[i]), int(near[i+1]), int(far[i]), int(far[i+1])
		sum := a + b + c + d + 8
		dst[2*i+1] = uint8(((sum+2*(b+c))>>3 + a) >> 1)
		dst[2*i+2] = uint8(((sum+2*(a+d))>>3 + b) >> 1)
	}
	if width%2 == 0 {
		dst[2*last+1] = edge(last)
	}
}

// vp8ToRGB writes a row of 3 bytes a pixel, of luma and full-size chroma of BT.601's limited range,
// in libwebp's integers.
func vp8ToRGB(dst, luma, u, v []uint8) {
	u, v = u[:len(luma)], v[:len(luma)]
	mul := func(v uint8, c int32) int32 { return int32(v) * c >> 8 }
	for x, l := range luma {
		y, to := mul(l, 19077), dst[3*x:][:3]
		to[0] = clip((y + mul(v[x], 26149) - 14234) >> 6)
		to[1] = clip((y - mul(u[x], 6419) - mul(v[x], 13320) + 8708) >> 6)
		to[2] = clip((y + mul(u[x], 33050) - 17685) >> 6)
	}
}
