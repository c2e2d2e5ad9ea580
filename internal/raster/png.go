package raster

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/regularfile"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// EncodePNG writes m, which has 1 channel (grey) or 3 (red, green, blue), as a PNG file with texts
// before the pixels.
func EncodePNG(w io.Writer, m *Image, texts ...Text) error {
	pixels, err := m.Std()
	if err != nil {
		return err
	}
	var file bytes.Buffer
	if err := png.Encode(&file, pixels); err != nil {
		return fmt.Errorf("encode PNG: %w", err)
	}
	// The IHDR chunk, which must be first, has 13 bytes of data.
	const start = len(pngMagic) + 4 + 4 + 13 + 4
	out := append([]byte(nil), file.Next(start)...)
	for _, t := range texts {
		kind, data, err := t.chunk()
		if err != nil {
			return fmt.Errorf("encode PNG: %w", err)
		}
		out = appendChunk(out, kind, data)
	}
	if _, err := w.Write(out); err != nil {
		return err
	}
	_, err = file.WriteTo(w)
	return err
}

// WritePNG creates or replaces the file at path, whole or not at all, with the output of EncodePNG.
func WritePNG(path string, m *Image, texts ...Text) error {
	return atomicfile.Write(path, func(w io.Writer) error { return EncodePNG(w, m, texts...) })
}

// Std returns the image as one of the standard library. One channel is grey and shares its pixels.
func (m *Image) Std() (image.Image, error) {
	bounds := image.Rect(0, 0, m.Width, m.Height)
	switch m.Channels {
	case 1:
		return &image.Gray{Pix: m.Pix, Stride: m.Width, Rect: bounds}, nil
	case 3:
		out := image.NewNRGBA(bounds)
		for i := range m.Height * m.Width {
			p := m.Pix[3*i:][:3]
			out.SetNRGBA(i%m.Width, i/m.Width, color.NRGBA{R: p[0], G: p[1], B: p[2], A: 255})
		}
		return out, nil
	}
	return nil, fmt.Errorf("an image of %d channels has no PNG form (1 and 3 have)", m.Channels)
}

// ReadTexts returns the texts of the PNG file at path, as DecodeTexts does.
func ReadTexts(path string) ([]Text, error) {
	f, _, err := regularfile.Open(path)
	if errors.Is(err, regularfile.ErrNotRegular) {
		return nil, fmt.Errorf("read PNG %s: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read PNG: %w", err)
	}
	defer f.Close()
	texts, err := DecodeTexts(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("read PNG %s: %w", path, err)
	}
	return texts, nil
}

// DecodeTexts reads a PNG file to its end and returns its texts in order, except compressed ones.
// It verifies all checksums: a file without an error is complete.
func DecodeTexts(r io.Reader) ([]Text, error) {
	magic := make([]byte, len(pngMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != pngMagic {
		return nil, errors.New("not a PNG file")
	}
	var texts []Text
	for {
		kind, data, err := readChunk(r)
		if err != nil {
			return nil, err
		}
		if kind == "IEND" {
			return texts, nil
		}
		t, is, err := parseText(kind, data)
		if err != nil {
			return nil, err
		}
		if is {
			texts = append(texts, t)
		}
	}
}

// appendChunk appends a PNG chunk: length, kind, data, checksum of kind and data.
func appendChunk(b []byte, kind string, data []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	b = append(append(b, kind...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[len(b)-len(data)-4:]))
}

// readChunk reads a chunk and verifies its checksum. It returns the data of text chunks only.
func readChunk(r io.Reader) (kind string, data []byte, err error) {
	const maxText = 1 << 24 // bytes
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", nil, fmt.Errorf("cut off: %w", io.ErrUnexpectedEOF)
	}
	length, kind := int64(binary.BigEndian.Uint32(head[:])), string(head[4:])
	sum := crc32.NewIEEE()
	sum.Write(head[4:])
	var text bytes.Buffer // grows with the data, not with the length field
	to := io.Writer(sum)
	if isText(kind) {
		if length > maxText {
			return "", nil, fmt.Errorf("chunk %q of %d bytes", kind, length)
		}
		to = io.MultiWriter(sum, &text)
	}
	if _, err := io.CopyN(to, r, length); err != nil {
		return "", nil, fmt.Errorf("cut off in chunk %q: %w", kind, io.ErrUnexpectedEOF)
	}
	var stored [4]byte
	if _, err := io.ReadFull(r, stored[:]); err != nil {
		return "", nil, fmt.Errorf("cut off in chunk %q: %w", kind, io.ErrUnexpectedEOF)
	}
	if binary.BigEndian.Uint32(stored[:]) != sum.Sum32() {
		return "", nil, fmt.Errorf("checksum of chunk %q is wrong", kind)
	}
	return kind, text.Bytes(), nil
}
