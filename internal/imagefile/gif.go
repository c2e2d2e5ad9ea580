package imagefile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"io"
)

// gifFrame is the first frame of a GIF file and the screen that it is on.
type gifFrame struct {
	screenHeight, screenWidth int
	height, width             int
	palette                   [256][3]uint8 // also of transparent pixels
	transparent               int           // -1: no colour is
}

func gifHeader(r io.ReaderAt, size int64) (Header, error) {
	f, err := readGIFFrame(bufio.NewReader(io.NewSectionReader(r, 0, size)))
	if err != nil {
		return Header{}, err
	}
	// The frame's indices, which are moved if interlaced, and the image.
	memory := 2*int64(f.height)*int64(f.width) + 3*int64(f.screenHeight)*int64(f.screenWidth)
	return Header{Height: f.screenHeight, Width: f.screenWidth, memory: memory}, nil
}

// readGIFFrame reads up to the first frame's pixels.
func readGIFFrame(r *bufio.Reader) (*gifFrame, error) {
	var b [13]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, err
	}
	f := &gifFrame{transparent: -1}
	f.screenWidth, f.screenHeight = int(binary.LittleEndian.Uint16(b[6:])), int(binary.LittleEndian.Uint16(b[8:]))
	if err := f.readPalette(r, b[10]); err != nil {
		return nil, err
	}
	for {
		block, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		switch block {
		case '!':
			if err := f.readExtension(r); err != nil {
				return nil, err
			}
		case ',':
			if _, err := io.ReadFull(r, b[:9]); err != nil {
				return nil, err
			}
			f.width, f.height = int(binary.LittleEndian.Uint16(b[4:])), int(binary.LittleEndian.Uint16(b[6:]))
			return f, f.readPalette(r, b[8])
		case ';':
			return nil, errors.New("GIF without an image")
		default:
			return nil, fmt.Errorf("GIF block of unknown kind 0x%02x", block)
		}
	}
}

// readPalette reads a palette, if the flags say that there is one.
func (f *gifFrame) readPalette(r io.Reader, flags byte) error {
	if flags&0x80 == 0 {
		return nil
	}
	b := make([]byte, 3<<(1+flags&7))
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	f.palette = [256][3]uint8{}
	for i := range len(b) / 3 {
		copy(f.palette[i][:], b[3*i:])
	}
	return nil
}

// readExtension reads an extension, of which only the transparent colour matters.
func (f *gifFrame) readExtension(r *bufio.Reader) error {
	label, err := r.ReadByte()
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		size, err := r.ReadByte()
		if err != nil {
			return err
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
		if first && label == 0xf9 && size == 4 {
			if f.transparent = -1; b[0]&1 != 0 {
				f.transparent = int(b[3])
			}
		}
	}
}

// decodeGIF decodes the first frame. Around it the screen has the transparent colour, or else the
// palette's first one.
func decodeGIF(ctx context.Context, file []byte) (*Image, error) {
	f, err := readGIFFrame(bufio.NewReader(bytes.NewReader(file)))
	if err != nil {
		return nil, err
	}
	decoded, err := gif.Decode(&contextReader{ctx, bytes.NewReader(file)})
	if err != nil {
		return nil, err
	}
	m, ok := decoded.(*image.Paletted)
	screen := image.Rect(0, 0, f.screenWidth, f.screenHeight)
	if !ok || !m.Rect.In(screen) {
		return nil, fmt.Errorf("GIF frame %v of kind %T, the screen is %v", decoded.Bounds(), decoded, screen)
	}
	out := newImage(f.screenHeight, f.screenWidth, 3)
	if m.Rect != screen {
		around := f.palette[max(f.transparent, 0)]
		for i := range f.screenHeight * f.screenWidth {
			copy(out.Pix[3*i:], around[:])
		}
	}
	for y := range m.Rect.Dy() {
		paint(out.row(m.Rect.Min.Y + y)[3*m.Rect.Min.X:], m.Pix[y*m.Stride:][:m.Rect.Dx()], &f.palette)
	}
	return out, nil
}
