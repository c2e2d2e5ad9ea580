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

// Tags of a TIFF file that say how much decoding it takes, and how its pixels are meant.
const (
	tiffWidth        = 256
	tiffHeight       = 257
	tiffBits         = 258
	tiffCompression  = 259
	tiffPhotometric  = 262
	tiffOrientation  = 274
	tiffRowsPerStrip = 278
	tiffPlanes       = 284
	tiffTileWidth    = 322
	tiffTileHeight   = 323
)

// Values of these tags.
const (
	tiffGroup3         = 3 // compression
	tiffGroup4         = 4
	tiffBlackIsZero    = 1 // photometric interpretation
	tiffSeparatePlanes = 2
)

// tiffUnread names the compressions that are not read.
var tiffUnread = map[int64]string{
	2: "CCITT RLE", 6: "old JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard",
	50001: "WebP", 50002: "JPEG XL",
}

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
	if name := tiffUnread[tags[tiffCompression]]; name != "" {
		return Header{}, fmt.Errorf("TIFF with %s compression, which is not supported", name)
	}
	if tags[tiffPlanes] == tiffSeparatePlanes {
		return Header{}, errors.New("TIFF with a plane for each channel, which is not supported")
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
	if o := tags[tiffOrientation]; o > 1 && o <= 8 {
		h.memory += 3 * height * width
		if swapsSides(o) {
			h.Height, h.Width = h.Width, h.Height
		}
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
		case tiffWidth, tiffHeight, tiffBits, tiffCompression, tiffPhotometric, tiffOrientation, tiffRowsPerStrip,
			tiffPlanes, tiffTileWidth, tiffTileHeight:
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

// decodeTIFF decodes the first image of a file and, as Pillow does for TIFF alone, turns it as its
// orientation says.
func decodeTIFF(ctx context.Context, file []byte) (*Image, error) {
	tags, err := readTIFFTags(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	decoded, err := tiff.Decode(&contextReader{ctx, bytes.NewReader(file)})
	if err != nil {
		return nil, err
	}
	m, err := fromStandard(decoded)
	if err != nil {
		return nil, err
	}
	// A white run of a fax is zeros, whatever these mean. The decoder always takes it for white.
	fax := tags[tiffCompression] == tiffGroup3 || tags[tiffCompression] == tiffGroup4
	if fax && tags[tiffPhotometric] == tiffBlackIsZero {
		for i := range m.Pix {
			m.Pix[i] = ^m.Pix[i]
		}
	}
	return m.oriented(tags[tiffOrientation]), nil
}
