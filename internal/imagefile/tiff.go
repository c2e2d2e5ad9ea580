package imagefile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/image/tiff"
)

// Tags of a TIFF file that say how much decoding it takes.
const (
	tiffWidth        = 256
	tiffHeight       = 257
	tiffBits         = 258
	tiffCompression  = 259
	tiffRowsPerStrip = 278
	tiffTileWidth    = 322
	tiffTileHeight   = 323
)

// tiffHeader reads the first directory, of which it needs single numbers alone.
func tiffHeader(r io.ReaderAt, size int64) (Header, error) {
	tags, err := readTIFFTags(r)
	if err != nil {
		return Header{}, err
	}
	height, width := tags[tiffHeight], tags[tiffWidth]
	if max(height, width) > maxPixels {
		return Header{}, fmt.Errorf("TIFF of %dx%d pixels (height x width)", height, width)
	}
	h := Header{Height: int(height), Width: int(width)}
	blockHeight, blockWidth := min(tags[tiffRowsPerStrip], height), width
	if blockHeight == 0 {
		blockHeight = height
	}
	if tags[tiffTileWidth] > 0 {
		blockHeight, blockWidth = tags[tiffTileHeight], tags[tiffTileWidth]
	}
	if blockHeight == 0 || blockWidth == 0 || max(blockHeight, blockWidth) > 2*maxPixels {
		return Header{}, fmt.Errorf("TIFF of blocks of %dx%d pixels (height x width)", blockHeight, blockWidth)
	}
	// The pixels of all blocks, which tiles may fill up far beyond the image, are decoded: they
	// count as if they were kept. A compressed block may take 8 bytes a pixel, twice that as its
	// buffer grows. A block has two numbers.
	blocks := ((height + blockHeight - 1) / blockHeight) * ((width + blockWidth - 1) / blockWidth)
	if blocks > maxPixels || blocks*blockHeight > 4*maxPixels/blockWidth {
		return Header{}, fmt.Errorf("TIFF of %d blocks of %dx%d pixels (height x width)", blocks, blockHeight, blockWidth)
	}
	bytesPerPixel := int64(4)
	if tags[tiffBits] > 8 {
		bytesPerPixel = 8 + 3
	}
	h.memory = bytesPerPixel*max(height*width, blocks*blockHeight*blockWidth) + 32*blocks
	if tags[tiffCompression] > 1 {
		h.memory += 24 * blockHeight * blockWidth
	}
	return h, nil
}

// readTIFFTags reads the numbers of the first directory. Of several bits a sample, the largest is
// taken; of other numbers, the first.
func readTIFFTags(r io.ReaderAt) (map[uint16]int64, error) {
	head, err := readAt(r, 0, 8)
	if err != nil {
		return nil, err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(head[4:]))
	count, err := readAt(r, at, 2)
	if err != nil {
		return nil, err
	}
	directory, err := readAt(r, at+2, 12*int(order.Uint16(count)))
	if err != nil {
		return nil, err
	}
	tags := map[uint16]int64{}
	for ; len(directory) > 0; directory = directory[12:] {
		tag, kind, n := order.Uint16(directory), order.Uint16(directory[2:]), order.Uint32(directory[4:])
		switch tag {
		case tiffWidth, tiffHeight, tiffBits, tiffCompression, tiffRowsPerStrip, tiffTileWidth, tiffTileHeight:
		default:
			continue
		}
		width := map[uint16]int{1: 1, 3: 2, 4: 4}[kind]
		if width == 0 || n == 0 {
			return nil, fmt.Errorf("TIFF tag %d of type %d, %d of it: want whole numbers", tag, kind, n)
		}
		used := 1
		if tag == tiffBits {
			used = int(min(n, 16))
		}
		values := directory[8:12]
		if int64(n)*int64(width) > 4 { // the numbers are elsewhere
			if values, err = readAt(r, int64(order.Uint32(values)), used*width); err != nil {
				return nil, err
			}
		}
		for i := range used {
			tags[tag] = max(tags[tag], tiffNumber(order, values[i*width:], width))
		}
	}
	if tags[tiffWidth] == 0 || tags[tiffHeight] == 0 {
		return nil, errors.New("TIFF without a size")
	}
	return tags, nil
}

// tiffNumber reads a number of 1, 2 or 4 bytes.
func tiffNumber(order binary.ByteOrder, b []byte, width int) int64 {
	switch width {
	case 1:
		return int64(b[0])
	case 2:
		return int64(order.Uint16(b))
	}
	return int64(order.Uint32(b))
}

// decodeTIFF decodes the first image of a file.
func decodeTIFF(ctx context.Context, file []byte) (*Image, error) {
	m, err := tiff.Decode(&contextReader{ctx, bytes.NewReader(file)})
	if err != nil {
		return nil, err
	}
	return fromStandard(m)
}
