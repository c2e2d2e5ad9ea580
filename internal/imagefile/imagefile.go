// Package imagefile decodes image files to the bytes that Pillow's convert("RGB") gives, since that
// is what diffusion models are trained on and evaluated with.
//
// It reads PNG, JPEG, WebP, GIF, BMP, TIFF and PNM, told apart by their first bytes. Of an animated
// file it reads the first frame. Alpha is dropped and the stored colour kept; of 16 bits the upper
// 8 are kept; orientation in EXIF, colour profiles and gamma are ignored. A decoder's time and
// memory are bounded by the size of the file; what would take more is refused before anything is
// allocated.
package imagefile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// Image is an image of 8 bits a channel.
type Image struct {
	Height, Width, Channels int     // 1 channel is grey, 3 are red, green and blue
	Pix                     []uint8 // [Height, Width, Channels]
}

// Header is what an image file says before its pixels.
type Header struct {
	Format        string // "PNG", "JPEG", ...
	Height, Width int

	memory int64 // max bytes that decoding allocates, the file itself left out
}

// Endings are the usual endings of the files that can be read, in lower case. Decoding does not
// look at them.
var Endings = []string{
	".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
}

// ErrFormat says that a file is of no format that can be read.
var ErrFormat = errors.New("not an image that can be read: want PNG, JPEG, WebP, GIF, BMP, TIFF or PNM")

const (
	maxFile     = 1 << 30     // bytes
	maxPixels   = 100_000_000 // of an image
	freeMemory  = 64 << 20    // bytes that decoding any file may take
	fileMemory  = 16          // and bytes for each byte of the file
	spareMemory = 1 << 20     // what tables and buffers of a decoder take
)

// format is a kind of image file.
type format struct {
	name string
	is   func(start string) bool
	// header reads the size of the image and what decoding it takes.
	header func(r io.ReaderAt, size int64) (Header, error)
	// decode decodes a file whose header was accepted. It stops when ctx ends.
	decode func(ctx context.Context, file []byte) (*Image, error)
}

var formats = []format{
	{"PNG", prefix(pngMagic), pngHeader, decodePNG},
	{"JPEG", prefix("\xff\xd8"), jpegHeader, decodeJPEG},
	{"WebP", isWebP, webpHeader, decodeWebP},
	{"GIF", prefix("GIF87a", "GIF89a"), gifHeader, decodeGIF},
	{"BMP", prefix("BM"), bmpHeader, decodeBMP},
	{"TIFF", prefix("II*\x00", "MM\x00*", "II+\x00", "MM\x00+"), tiffHeader, decodeTIFF},
	{"PNM", isPNM, pnmHeader, decodePNM},
}

// startBytes is how many bytes tell the formats apart.
const startBytes = 12

// prefix recognises files that start with one of the marks.
func prefix(marks ...string) func(string) bool {
	return func(start string) bool {
		for _, mark := range marks {
			if len(start) >= len(mark) && start[:len(mark)] == mark {
				return true
			}
		}
		return false
	}
}

// ReadHeader reads the header of the file at path, and checks that decoding it keeps within the
// bounds.
func ReadHeader(path string) (Header, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return Header{}, err
	}
	defer f.Close()
	_, h, err := readHeader(f, size)
	return h, err
}

// ReadFile decodes the file at path. It stops when ctx ends.
func ReadFile(ctx context.Context, path string) (*Image, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, _, err := readHeader(f, size); err != nil {
		return nil, err
	}
	file := make([]byte, size)
	if _, err := io.ReadFull(&contextReader{ctx, f}, file); err != nil {
		return nil, err
	}
	return Decode(ctx, file)
}

// Decode decodes a file. It stops when ctx ends.
func Decode(ctx context.Context, file []byte) (*Image, error) {
	f, h, err := readHeader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	m, err := f.decode(ctx, file)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("decode image: %w", noEOF(err))
	}
	if m.Height != h.Height || m.Width != h.Width {
		return nil, fmt.Errorf("decode image: %dx%d pixels (height x width), its header says %dx%d",
			m.Height, m.Width, h.Height, h.Width)
	}
	return m, nil
}

// readHeader finds the format of a file and reads its header.
func readHeader(r io.ReaderAt, size int64) (*format, Header, error) {
	var start [startBytes]byte
	n, err := r.ReadAt(start[:], 0)
	if err != nil && err != io.EOF {
		return nil, Header{}, err
	}
	for i := range formats {
		f := &formats[i]
		if !f.is(string(start[:n])) {
			continue
		}
		h, err := f.header(r, size)
		if err != nil {
			return nil, Header{}, fmt.Errorf("image header: %w", noEOF(err))
		}
		h.Format = f.name
		return f, h, h.check(size)
	}
	return nil, Header{}, ErrFormat
}

// check refuses images that are too large, or too large for a file of so many bytes.
func (h Header) check(size int64) error {
	if h.Height <= 0 || h.Width <= 0 || h.Height > maxPixels/h.Width {
		return fmt.Errorf("image of %dx%d pixels (height x width): want 1 to %d in all", h.Height, h.Width, maxPixels)
	}
	if size > maxFile {
		return fmt.Errorf("image file of %d bytes: want at most %d", size, maxFile)
	}
	if need, most := h.memory+size+spareMemory, freeMemory+fileMemory*size; need > most {
		return fmt.Errorf("image of %dx%d pixels (height x width) in a file of %d bytes: decoding it takes %d MiB, "+
			"want at most %d MiB for such a file", h.Height, h.Width, size, (need+1<<20-1)>>20, most>>20)
	}
	return nil
}

// newImage returns a black image of a size that was checked.
func newImage(height, width, channels int) *Image {
	return &Image{Height: height, Width: width, Channels: channels, Pix: make([]uint8, height*width*channels)}
}

// row returns the bytes of row y.
func (m *Image) row(y int) []uint8 {
	stride := m.Width * m.Channels
	return m.Pix[y*stride:][:stride]
}
