package imagefile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image/png"
	"io"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// pngHeader reads the IHDR chunk. Pixels take up to 4 bytes, with 16 bits 8; an interlaced image's
// passes take as much again.
func pngHeader(r io.ReaderAt, _ int64) (Header, error) {
	b, err := readAt(r, int64(len(pngMagic)), 8+13)
	if err != nil {
		return Header{}, err
	}
	if string(b[4:8]) != "IHDR" {
		return Header{}, errors.New("PNG without a header")
	}
	width, height := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	depth, interlaced := b[16], b[20] != 0
	if max(width, height) > 1<<31-1 {
		return Header{}, errors.New("PNG of a negative size")
	}
	h := Header{Height: int(height), Width: int(width)}
	h.memory = 4 * int64(width) * int64(height)
	if depth == 16 {
		h.memory *= 2
	}
	if interlaced {
		h.memory *= 2
	}
	return h, nil
}

func decodePNG(ctx context.Context, file []byte) (*Image, error) {
	m, err := png.Decode(&contextReader{ctx, bytes.NewReader(file)})
	if err != nil {
		return nil, err
	}
	return fromStandard(m)
}
